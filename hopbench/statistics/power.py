"""What a number of pairs can tell, from how far apart equals have been.

The reference is simulated once for each n: samples of n standard normal units, their Walsh averages
sorted. Half-width and detectable effect of the signed-rank test are quantiles of that table, times
the spread of the units. Normal noise is the careful choice: with heavier tails at the same standard
deviation, ranks tell more, not less (Hodges & Lehmann 1956: never below 0.864 of the mean's
efficiency, and above 1 for heavy tails).

The spread of null pairs stands for that of pairs. Null pairs of a block are 1 and 3 rounds apart,
crosswise pairs 2: the mean of the former's variances is the latter's where the noise's
autocovariance falls in a straight line, and a little less where it falls ever more slowly.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from hopbench.statistics import Floats
from hopbench.statistics.blocks import PAIRS, unit_count
from hopbench.statistics.signed_rank import rank, walsh

POWER: Final = 0.8
"""The chance to call an effect as large as the detectable one (Cohen 1988)."""

_SAMPLES: Final = 4_000
_LARGEST: Final = 40
"""Units in the largest table; beyond it, both figures fall with the root of n."""


@dataclass(frozen=True, slots=True)
class Foresight:
    """What so many pairs will tell here, as shares (0.04 is 4 %); infinite where it is nothing."""

    pairs: int
    width: float
    """How much the interval's upper end will exceed its lower one."""
    detectable: float
    """The effect that is called with POWER."""


def foresee(null: Floats, pairs: int, alpha: float) -> Foresight:
    """From oriented log ratios of null pairs, of any shape: a run's, or a ledger's.

    Raises ValueError without null pairs, and where pairs is no positive even number.
    """
    if null.size == 0:
        raise ValueError("without null pairs nothing is known of the spread")
    if pairs < PAIRS or pairs % PAIRS:
        raise ValueError(f"a block gives two pairs; {pairs} cannot be had")
    n = unit_count(pairs // PAIRS)
    # About zero, not about their mean: orientation is a coin's, so their true mean is zero.
    spread = math.sqrt(float(np.mean(null**2)) * n / pairs)
    return Foresight(
        pairs,
        width=math.expm1(2 * half_width(n, alpha) * spread),
        detectable=math.expm1(detectable(n, alpha) * spread),
    )


def pairs_needed(null: Floats, effect: float, alpha: float, most: int = 200) -> int | None:
    """Fewest pairs that detect ``effect`` (0.04 is 4 %); None where ``most`` do not."""
    for pairs in range(PAIRS, most + 1, PAIRS):
        if foresee(null, pairs, alpha).detectable <= effect:
            return pairs
    return None


@lru_cache(maxsize=1024)
def half_width(n: int, alpha: float) -> float:
    """Median half-width of the interval of n units with a standard deviation of 1."""
    return _scaled(n, alpha, lambda low, high: float(np.median(high - low)) / 2)


@lru_cache(maxsize=1024)
def detectable(n: int, alpha: float) -> float:
    """The shift that n units with a standard deviation of 1 are called for, with POWER.

    A shift moves the whole interval: it is called where the shift exceeds what the lower end was
    short of zero. So it is a quantile of the unshifted lower ends, and needs no search.
    """
    return _scaled(n, alpha, lambda low, _: float(np.quantile(-low, POWER)))


def _scaled(n: int, alpha: float, figure: Callable[[Floats, Floats], float]) -> float:
    within = min(n, _LARGEST)
    cut = rank(within, alpha)
    if cut == 0:
        return math.inf
    table = _reference(within)
    return figure(table[:, cut - 1], table[:, -cut]) * math.sqrt(within / n)


@lru_cache(maxsize=4)
def _reference(n: int) -> Floats:
    noise = np.random.default_rng(n).standard_normal((_SAMPLES, n))
    return np.sort(walsh(noise), axis=1)
