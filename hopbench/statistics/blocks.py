"""The order of rounds, and which of them are held against each other.

A block is a drawn order of the arms and then its reverse: ABBA or BAAB, with three arms ABCCBA and
so on. Every arm has two rounds in it, with the same mean place: a linear drift adds the same to
each arm, and cancels.

Rules, each held against simulation by `benchmarks/null_truth.py` (docs/measurement.md, "Verdicts:
is the level kept"):

- The order of each block is drawn by itself, from the seed and the block's number. An order and the
  one with two arms exchanged are equally likely. That makes the sign of a block's difference a fair
  coin under the null *whatever the noise does*: the level comes from the draw, not from what is
  assumed of the noise (Fisher 1935; Edgington & Onghena, Randomization Tests).
- From BY_BLOCK blocks on, the unit is the block: the mean of its two pairs.
- Fewer blocks have too few signs for that. The unit then is the pair, and pairs are made crosswise:
  the first round of one arm with the second of the other (in ABBA: 1st with 3rd, 4th with 2nd).
  Neighbours (1st with 2nd, 4th with 3rd) share what lies between the halves: their covariance is
  c1 - 2 c2 + c3 of the noise's autocovariance c, positive for every convex one, so they call too
  often. Crosswise it is c3 - c1, negative for every falling one, so they call too seldom.
- In a duet the two rounds of a pair run at once, in slices of one sitting, whose order is drawn
  anew for each slice: a pair is of neighbours there, and by itself.
- Null pairs are the two rounds of one arm, oriented beforehand by a stream of draws of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.random import Generator, default_rng

from hopbench.statistics import Floats

BY_BLOCK: Final = 10
"""From as many blocks on (20 pairs) a block is one unit. There it costs 5 % of width on independent
noise and saves 9 % on noise as recorded; below, ranks of so few units reach no adjusted level."""

PAIRS: Final = 2
"""Of two arms in a block."""

_ORDER: Final = 1
_NULL: Final = 2

Order = tuple[int, ...]
"""The arm of each round of a block, counted from 0; each arm twice."""


def order(seed: int, block: int, arms: int = 2) -> Order:
    """Of one block. A block that is repeated keeps its order, or a coin would be tossed twice.

    Raises ValueError for fewer than two arms, a negative seed or block.
    """
    if arms < 2:
        raise ValueError("a block needs at least two arms")
    drawn = [int(arm) for arm in _drawn(_ORDER, seed, block).permutation(arms)]
    return (*drawn, *reversed(drawn))


def orders(seed: int, blocks: int, arms: int = 2) -> tuple[Order, ...]:
    """Of the first ``blocks`` blocks; more blocks change none of them."""
    return tuple(order(seed, block, arms) for block in range(blocks))


def pairs(
    rounds: Order, first: int, second: int, *, neighbours: bool = False
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Places, from 0, of the rounds of arms ``first`` and ``second`` that form the two pairs.

    ``neighbours``: of rounds that ran at once, so that each pair is by itself.
    """
    one, other = places(rounds, first), places(rounds, second)
    if neighbours:
        return (one[0], other[0]), (one[1], other[1])
    return (one[0], other[1]), (one[1], other[0])


def places(rounds: Order, arm: int) -> tuple[int, int]:
    """The two places of an arm in a block, from 0."""
    early, late = (at for at, each in enumerate(rounds) if each == arm)
    return early, late


def paired(
    values: Floats,
    drawn: Sequence[Order],
    first: int = 0,
    second: int = 1,
    *,
    neighbours: bool = False,
) -> Floats:
    """``second`` - ``first`` of each pair: (blocks, rounds) to (blocks, 2).

    For ratios hand in logarithms. Values stand in the order in which the rounds ran.
    """
    each = [pairs(rounds, first, second, neighbours=neighbours) for rounds in drawn]
    at = np.array(each, np.intp).reshape(-1, PAIRS, 2)
    taken = np.take_along_axis(values[:, None, :], at, axis=2)
    found: Floats = taken[..., 1] - taken[..., 0]
    return found


def null(values: Floats, drawn: Sequence[Order], arm: int, seed: int) -> Floats:
    """The null pair of ``arm`` in each block: (blocks, rounds) to (blocks,).

    Later - earlier round, or earlier - later where the seed has drawn so.
    """
    found = np.empty(len(drawn))
    for block, rounds in enumerate(drawn):
        early, late = places(rounds, arm)
        sign = 1 if _drawn(_NULL, seed, block).random(len(rounds) // 2)[arm] < 0.5 else -1
        found[block] = sign * (values[block, late] - values[block, early])
    return found


def units(differences: Floats) -> Floats:
    """What a test takes as independent: (blocks, 2) to (2 blocks,), or from BY_BLOCK on (blocks,).

    Raises ValueError where the shape is another.
    """
    if differences.ndim != 2 or differences.shape[1] != PAIRS:
        raise ValueError(f"two pairs a block are needed, not an array of {differences.shape}")
    if len(differences) >= BY_BLOCK:
        means: Floats = differences.mean(axis=1)
        return means
    return differences.ravel()


def unit_count(blocks: int) -> int:
    """How many units so many blocks give."""
    return blocks if blocks >= BY_BLOCK else PAIRS * blocks


def _drawn(purpose: int, seed: int, block: int) -> Generator:
    return default_rng([purpose, seed, block])
