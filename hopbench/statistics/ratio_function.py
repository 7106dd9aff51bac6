"""B/A at each quantile, with a band: where in the distribution a change lies.

The band is pointwise: each of its intervals misses with a chance of at most alpha, and one of many
will. It is the signed-rank interval at any number of pairs. A bootstrap over rounds, usual above 50
pairs, would be no cheaper at this size, and it covers less than it says where pairs are few.

A quantile is shown where every round identifies it: n >= ln 0.025 / ln p requests for p and as many
for 1 - p, so that the chance of the whole sample lying on one side of it is at most 2.5 %. Requests
that never ended are infinite, and in virtual time some take no time at all; a quantile that is
infinite or zero in any round is cut, too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from hopbench.statistics import Floats
from hopbench.statistics.blocks import Order, paired, places, units
from hopbench.statistics.signed_rank import signed_rank

QUANTILES: Final = (*(k / 100 for k in range(5, 100, 5)), 0.975, 0.99, 0.995, 0.999)


@dataclass(frozen=True, slots=True)
class Point:
    quantile: float
    ratio: float
    low: float
    high: float


def needed(quantile: float) -> int:
    """Fewest requests of a round that identify it. Raises ValueError outside of 0 to 1."""
    if not 0 < quantile < 1:
        raise ValueError(f"a quantile lies between 0 and 1, not at {quantile}")
    return math.ceil(math.log(0.025) / math.log(max(quantile, 1 - quantile)))


def ratio_function(
    rounds: Sequence[Sequence[Floats]],
    drawn: Sequence[Order],
    first: int = 0,
    second: int = 1,
    *,
    alpha: float = 0.05,
    quantiles: Sequence[float] = QUANTILES,
    neighbours: bool = False,
) -> tuple[Point, ...]:
    """Second arm / first at each quantile that can be known; empty where none can.

    ``rounds``: times of the requests of each round of each block, in the order in which the rounds
    ran (as many in a block as ``drawn`` has), in any unit and any order, not negative.
    ``neighbours`` as of :func:`paired`.
    """
    taken = [
        (b, at) for b, o in enumerate(drawn) for arm in (first, second) for at in places(o, arm)
    ]
    fewest = min((len(rounds[block][at]) for block, at in taken), default=0)
    asked = [q for q in quantiles if fewest >= needed(q)]
    if not asked:
        return ()
    logs = np.zeros((len(asked), len(drawn), len(drawn[0])))
    for block, at in taken:
        logs[:, block, at] = _log_quantiles(rounds[block][at], asked)
    return tuple(
        _point(q, units(paired(log, drawn, first, second, neighbours=neighbours)), alpha)
        for q, log in zip(asked, logs, strict=True)
        if np.isfinite(log).all()
    )


def _log_quantiles(times: Floats, quantiles: Sequence[float]) -> Floats:
    """By nearest rank: always a value that occurred."""
    # 0.95 * 20 is a little more than 19 in floating point, and would take the next rank.
    ranks = [max(math.ceil(q * len(times) - 1e-9), 1) - 1 for q in quantiles]
    with np.errstate(divide="ignore"):
        logs: Floats = np.log(np.partition(times, sorted(set(ranks)))[ranks])
    return logs


def _point(quantile: float, log_ratios: Floats, alpha: float) -> Point:
    ranks = signed_rank(log_ratios)
    interval = ranks.interval(alpha)
    ends = (math.exp(each) for each in (ranks.estimate, interval.low, interval.high))
    return Point(quantile, *ends)
