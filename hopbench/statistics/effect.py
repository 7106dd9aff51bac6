"""What the pairs say of a metric: ratio, interval, p, and the word for it.

Rules, in this order:

- void: fewer than FEWEST_PAIRS valid pairs, or fewer units than the level can ever call;
- equivalent: the interval lies within ±log(1 + delta) (two one-sided tests: Schuirmann 1987, at
  alpha / 2 each, so more careful than the usual alpha);
- faster or slower: the interval leaves 1 out;
- else inconclusive, with the least effect that would have been called.

The word goes by the interval at the alpha at which Holm has judged the metric within its family.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np

from hopbench.statistics import Floats, holm
from hopbench.statistics.blocks import PAIRS, unit_count, units
from hopbench.statistics.failures import Failures
from hopbench.statistics.power import detectable
from hopbench.statistics.signed_rank import Interval, SignedRank, needed, signed_rank

EQUAL_FAILURES: Final = 0.01
"""No two shares of failures can be shown to be the same; that they differ by less than one request
in a hundred can."""
FEWEST_PAIRS: Final = 6
"""Whatever the level: two blocks tell nothing of their spread."""


class Outcome(StrEnum):
    FASTER = "faster"
    SLOWER = "slower"
    EQUIVALENT = "equivalent"
    INCONCLUSIVE = "inconclusive"
    VOID = "void"


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One metric of one comparison."""

    log_ratios: Floats
    """log(second / first) of the valid pairs, (blocks, 2); second - first where ``plain``."""
    more_is_better: bool = False
    """Throughput: a ratio above 1 is then called faster."""
    plain: bool = False
    """Differences, of what may be zero."""


@dataclass(frozen=True, slots=True)
class Effect:
    """Ratios are second / first; 0 and infinity are the ends of an interval that n cannot bound, of
    a difference both infinities."""

    ratio: float | None
    """None where there is no valid pair, and of differences."""
    difference: float | None
    """Second - first, where no ratio is told."""
    interval: tuple[float, float]
    """Of the one that is told. At the level, as if the metric were alone: p goes with it."""
    adjusted: tuple[float, float]
    """At the metric's level within its family: p_adjusted and the outcome go with it."""
    p: float
    p_adjusted: float
    mde: float | None
    """The rise that would be called with power.POWER, given the spread of the units, as a share
    (0.04 is 4 %; a fall by the same factor would be, too). None where none would."""
    units: int
    size: float
    """The chance to miss that ``interval`` really has: 0.031 for 6 units at 5 %."""
    outcome: Outcome


def fewest_pairs(alpha: float, family: int = 1, at_least: int = FEWEST_PAIRS) -> int:
    """Fewest pairs, but ``at_least``, with which the least p of a family of so many can be called.

    At 5 %: 6 for one metric, and 8, 8 and 10 for families of 2, 3 and 10. More need not do: 18
    pairs are 18 units, 20 are 10 (blocks.py).
    """
    blocks = -(-max(at_least, FEWEST_PAIRS) // PAIRS)
    while unit_count(blocks) < needed(alpha / family):
        blocks += 1
    return PAIRS * blocks


def effects(
    samples: Sequence[Sample | Failures], *, alpha: float, delta: float
) -> tuple[Effect, ...]:
    """Of one family, in the order given; a family of one is judged at the full level.

    ``delta``: 0.05 for ±5 %; shares of failures are equivalent within EQUAL_FAILURES. Raises
    ValueError where it is negative, alpha is not within 0 to 1, or a log ratio is not finite.
    """
    if delta < 0:
        raise ValueError("delta is a share, not negative")
    evidence = [_evidence(each) for each in samples]
    p = [1.0 if each is None else each.p() for each in evidence]
    judged = zip(samples, evidence, holm.adjusted(p), holm.alphas(p, alpha), strict=True)
    return tuple(
        _nothing()
        if of is None
        else _effect(sample, of, _Judged(float(p_adjusted), alpha, float(own)), math.log1p(delta))
        for sample, of, p_adjusted, own in judged
    )


def _evidence(of: Sample | Failures) -> SignedRank | Failures | None:
    """None without a pair."""
    if isinstance(of, Failures):
        return of
    return signed_rank(units(of.log_ratios)) if of.log_ratios.size else None


@dataclass(frozen=True, slots=True)
class _Judged:
    """How a metric was judged within its family."""

    p_adjusted: float
    alpha: float
    own: float
    """Its part of alpha."""


def _effect(
    sample: Sample | Failures, of: SignedRank | Failures, judged: _Judged, margin: float
) -> Effect:
    interval, adjusted = of.interval(judged.alpha), of.interval(judged.own)
    n = of.ranks.n if isinstance(of, Failures) else of.n
    plain, more_is_better = True, False
    if isinstance(sample, Sample):
        plain, more_is_better = sample.plain, sample.more_is_better
        margin = 0.0 if plain else margin
    else:
        margin = EQUAL_FAILURES
    # From BY_BLOCK blocks on a unit is a block, and there are pairs enough.
    if n < FEWEST_PAIRS or n < needed(judged.alpha):
        outcome = Outcome.VOID
    else:
        outcome = _outcome(adjusted, margin, more_is_better)
    ends = (interval.low, interval.high), (adjusted.low, adjusted.high)
    return Effect(
        ratio=None if plain else math.exp(of.estimate),
        difference=of.estimate if plain else None,
        interval=ends[0] if plain else ratios(interval),
        adjusted=ends[1] if plain else ratios(adjusted),
        p=of.p(),
        p_adjusted=judged.p_adjusted,
        mde=_mde(units(sample.log_ratios), judged.own)
        if isinstance(sample, Sample) and not plain
        else None,
        units=n,
        size=interval.size,
        outcome=outcome,
    )


def _nothing() -> Effect:
    line = (0.0, math.inf)
    return Effect(None, None, line, line, 1.0, 1.0, None, 0, 0.0, Outcome.VOID)


def _outcome(interval: Interval, margin: float, more_is_better: bool) -> Outcome:
    if -margin <= interval.low and interval.high <= margin:
        return Outcome.EQUIVALENT
    if interval.low > 0:
        return Outcome.FASTER if more_is_better else Outcome.SLOWER
    if interval.high < 0:
        return Outcome.SLOWER if more_is_better else Outcome.FASTER
    return Outcome.INCONCLUSIVE


def _mde(log_ratios: Floats, alpha: float) -> float | None:
    """By the spread about the mean, whatever the effect: as if the pairs were of equals."""
    if len(log_ratios) < 2:
        return None
    shift = detectable(len(log_ratios), alpha)
    return math.expm1(shift * float(np.std(log_ratios, ddof=1))) if math.isfinite(shift) else None


def ratios(interval: Interval) -> tuple[float, float]:
    """An interval of log ratios, as ratios."""
    return math.exp(interval.low), math.exp(interval.high)
