"""A difference of failed shares, which is no ratio: the first arm often has no failure at all.

Two things may be wrong with a count of failures, and each of the usual tests sees one of them:

- Requests fail together (a stall, a restart). Fisher's test on pooled counts, and every other that
  takes requests as independent, calls nulls far too often then: half of them at 5 % where failures
  come in bursts of ten (docs/measurement.md). The signed-rank test of the shares' differences, unit
  by unit as for any other metric, does not care.
- Where hardly a round has a failure, all differences are zero, and the signed-rank interval is the
  point zero, as though absence of failures were proof. The counts know better: none of 6,000 may
  still be 0.07 %.

So a difference is told only where both tell it: the interval is the hull of both intervals, and p
the larger of both. That p is exact by the ranks alone; the counts can only raise it. The counts'
interval squares and adds the exact limits of both arms (Newcombe 1998, method 10, with Clopper and
Pearson's limits in place of Wilson's): over a grid of shares from 0.05 to 50 % and 60 to 1,000
requests it never covered less than it says.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from hopbench.statistics import Floats, binomial
from hopbench.statistics.blocks import units
from hopbench.statistics.signed_rank import Interval, SignedRank, signed_rank

_STEPS: Final = 32


@dataclass(frozen=True, slots=True)
class Counts:
    """Of one arm, over all its valid rounds."""

    failed: int
    requests: int

    @property
    def share(self) -> float:
        return self.failed / self.requests if self.requests else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Failures:
    """Second arm's failed share - the first's."""

    ranks: SignedRank
    first: Counts
    second: Counts

    @property
    def estimate(self) -> float:
        return self.second.share - self.first.share

    def interval(self, alpha: float) -> Interval:
        """In shares of requests: 0.01 is one more failure in a hundred."""
        by_round = self.ranks.interval(alpha)
        low, high = _difference(self.first, self.second, alpha)
        return Interval(min(by_round.low, low), max(by_round.high, high), by_round.size)

    def above(self, at: float = 0.0) -> float:
        """Two-sided p of the difference being ``at``, as far as it speaks for a larger one."""
        return _larger(self.ranks.above(at), self.first, self.second, at)

    def below(self, at: float = 0.0) -> float:
        """The same for a smaller one."""
        return _larger(self.ranks.below(at), self.second, self.first, -at)

    def p(self, at: float = 0.0) -> float:
        return min(self.above(at), self.below(at))


def failures(differences: Floats, first: Counts, second: Counts) -> Failures:
    """``differences``: of the failed shares of the two rounds of each pair, (blocks, 2).

    Raises ValueError without a block, or for counts that are none.
    """
    if not np.isfinite(differences).all():
        raise ValueError("a round without requests has no failed share")
    return Failures(signed_rank(units(differences)), first, second)


def _difference(first: Counts, second: Counts, alpha: float) -> tuple[float, float]:
    one = binomial.interval(first.failed, first.requests, alpha)
    other = binomial.interval(second.failed, second.requests, alpha)
    difference = second.share - first.share
    return (
        difference - math.hypot(second.share - other[0], one[1] - first.share),
        difference + math.hypot(other[1] - second.share, first.share - one[0]),
    )


def _larger(p: float, first: Counts, second: Counts, at: float) -> float:
    return p if p == 1 else max(p, _least_alpha(first, second, at))


def _least_alpha(first: Counts, second: Counts, at: float) -> float:
    """The least alpha at which the counts' interval lies above ``at``; 1 where none does."""
    low, high = math.log(1e-12), 0.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if _difference(first, second, math.exp(middle))[0] > at:
            high = middle
        else:
            low = middle
    return math.exp(high)
