"""The exact signed-rank test of paired differences, and the interval that goes with it.

Wilcoxon 1945; estimate and interval by Hodges & Lehmann 1963 and Tukey 1949 (Hollander, Wolfe &
Chicken, Nonparametric Statistical Methods, 3.1-3.3). Of n differences there are n (n + 1) / 2 Walsh
averages, the means of each with itself and each other. The statistic at a location is how many of
them lie on one side of it; its distribution, where each difference is as likely above the location
as below, is that of a sum of a random subset of 1..n, and counted here without approximation.

Rules:

- The estimate is the median of the Walsh averages; an end of the interval is one of them.
- An average that lies exactly on the location counts for both sides. So zeros and ties can only
  raise p: they are broken the way that speaks against a difference, and the size is kept.
- Test and interval look at the same ordered averages and the same table. So p <= alpha exactly
  where the interval at alpha leaves the location out: they cannot disagree.
- Where n is too small for alpha, the interval is the whole line, and p stays above alpha.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hopbench.statistics import Floats


@dataclass(frozen=True, slots=True)
class Interval:
    """Closed, on the scale of the differences (log ratios, or plain differences)."""

    low: float
    high: float
    size: float
    """At most this is the chance to miss; below the alpha asked for, since ranks are whole."""


@dataclass(frozen=True, slots=True, eq=False)
class SignedRank:
    """What n paired differences say about their location."""

    n: int
    walsh: Floats
    """The n (n + 1) / 2 Walsh averages in ascending order."""

    @property
    def estimate(self) -> float:
        """Hodges and Lehmann's: the median of the Walsh averages."""
        middle = len(self.walsh)
        return float(self.walsh[(middle - 1) // 2] + self.walsh[middle // 2]) / 2

    def above(self, at: float = 0.0) -> float:
        """Two-sided p of the location being ``at``, as far as it speaks for a larger one."""
        return self._doubled(int(np.searchsorted(self.walsh, at, side="right")))

    def below(self, at: float = 0.0) -> float:
        """The same for a smaller one."""
        return self._doubled(len(self.walsh) - int(np.searchsorted(self.walsh, at, side="left")))

    def p(self, at: float = 0.0) -> float:
        """Two-sided p of the location being ``at``."""
        return min(self.above(at), self.below(at))

    def interval(self, alpha: float) -> Interval:
        """Of the location; misses it with a chance of at most ``alpha`` (0 to 1, both excluded)."""
        cut = rank(self.n, alpha)
        if cut == 0:
            return Interval(-math.inf, math.inf, 0.0)
        low, high = float(self.walsh[cut - 1]), float(self.walsh[-cut])
        return Interval(low, high, size(self.n, alpha))

    def _doubled(self, count: int) -> float:
        return min(1.0, 2 * float(null_distribution(self.n)[count]))


def signed_rank(differences: ArrayLike) -> SignedRank:
    """Of independent differences, of any shape, each symmetric about one location.

    Raises ValueError for none, and for one that is not finite.
    """
    x = np.asarray(differences, np.float64).ravel()
    if len(x) == 0 or not np.isfinite(x).all():
        raise ValueError("a signed-rank test takes finite differences, at least one")
    return SignedRank(len(x), np.sort(walsh(x[None, :]), axis=1)[0])


def walsh(samples: Floats) -> Floats:
    """Walsh averages of each row: (rows, n) to (rows, n (n + 1) / 2), in no order."""
    i, j = _both(samples.shape[1])
    averages: Floats = (samples[:, i] + samples[:, j]) / 2
    return averages


@lru_cache(maxsize=64)
def _both(n: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    return np.triu_indices(n)


@lru_cache(maxsize=256)
def null_distribution(n: int) -> Floats:
    """P(T <= t) for t = 0..n (n + 1) / 2, where T is the sum of a random subset of 1..n.

    Exact to the last bit up to n = 53 (multiples of 2^-n), to about n of them beyond.
    """
    chance = np.ones(1)
    for i in range(1, n + 1):
        longer = np.zeros(len(chance) + i)
        longer[: len(chance)] = chance / 2
        longer[i:] += chance / 2
        chance = longer
    total: Floats = np.minimum(np.cumsum(chance), 1.0)
    total.setflags(write=False)
    return total


def rank(n: int, alpha: float) -> int:
    """Which Walsh average, counted from 1 from either end, bounds the interval; 0 where none can.

    Raises ValueError where alpha is not between 0 and 1.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie between 0 and 1, not {alpha}")
    return int(np.searchsorted(2 * null_distribution(n), alpha, side="right"))


def size(n: int, alpha: float) -> float:
    """The chance to miss that n differences really have at ``alpha``: 3.1 % for 6 at 5 %."""
    cut = rank(n, alpha)
    return 2 * float(null_distribution(n)[cut - 1]) if cut else 0.0


def needed(alpha: float) -> int:
    """Fewest differences that can ever be called at ``alpha``: 6 at 5 %, 8 at 1 %.

    Raises ValueError where alpha is not between 0 and 1.
    """
    n = 1
    while rank(n, alpha) == 0:
        n += 1
    return n
