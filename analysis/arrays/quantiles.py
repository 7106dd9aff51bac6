"""Quantiles by nearest rank, and where a sample is too small to know one.

The p-quantile of n values is the value of rank ceil(p n), counted from 1: always a value that
occurred. It is identifiable from n >= ln 0.025 / ln p on (6, 36, 72 and 368 for P50, P90, P95 and
P99): then the chance that the whole sample lies below the true quantile is at most 2.5 %.
Requests that never ended (drops, timeouts) rank as plus infinity.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from analysis.arrays import Integers

NS_PER_MS: Final = 1e6
PERCENTS: Final = (50, 90, 95, 99)
NEEDED: Final = {p: math.ceil(math.log(0.025) / math.log(p / 100)) for p in PERCENTS}
"""Smallest sample that identifies each percentile."""


@dataclass(frozen=True, slots=True)
class Quantiles:
    """The quantile map of every document; None where not identifiable, or infinite. The unit is
    the caller's."""

    n: int
    p50: float | None
    p90: float | None
    p95: float | None
    p99: float | None
    max: float | None


def rank(percent: int, n: int) -> int:
    """Nearest rank of a percentile among ``n`` values, from 0. In integers: 0.95 * 20 is not 19."""
    return -(-percent * n // 100) - 1


def quantiles(values: NDArray[np.generic], *, divisor: float = 1.0, endless: int = 0) -> Quantiles:
    """Of ``values`` (any order) and ``endless`` more that rank as plus infinity.

    ``divisor`` converts the unit: NS_PER_MS for ns to ms.
    """
    return _of_sorted(np.sort(values), divisor, endless)


def quantiles_by_group(
    group: Integers, values: NDArray[np.generic], groups: int, *, divisor: float = 1.0
) -> list[Quantiles]:
    """One for each group 0..groups-1; ``group`` and ``values`` are parallel."""
    order = np.lexsort((values, group))
    ordered = values[order]
    bounds = np.searchsorted(group[order], np.arange(groups + 1))
    return [_of_sorted(ordered[bounds[g] : bounds[g + 1]], divisor, 0) for g in range(groups)]


def median(values: NDArray[np.generic]) -> float:
    """Nearest-rank median for decisions, whatever the sample's size; 0 for none."""
    n = len(values)
    return 0.0 if n == 0 else float(np.sort(values)[rank(50, n)])


def _of_sorted(ordered: NDArray[np.generic], divisor: float, endless: int) -> Quantiles:
    known = len(ordered)
    n = known + endless

    def at(percent: int) -> float | None:
        if n < NEEDED[percent] or (index := rank(percent, n)) >= known:
            return None
        return float(ordered[index]) / divisor

    return Quantiles(
        n=n,
        p50=at(50),
        p90=at(90),
        p95=at(95),
        p99=at(99),
        max=float(ordered[-1]) / divisor if known and not endless else None,
    )
