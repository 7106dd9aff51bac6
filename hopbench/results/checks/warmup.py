"""Whether the services were as fast as they get before the first request that counts."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

import numpy as np

from analysis.arrays import I64
from analysis.arrays.quantiles import NS_PER_MS
from hopbench.results.checks.observed import Observed
from hopbench.runs.limits import SIGMAS, Limits
from services.doubts import Code, Doubt

_FEW: Final = 20
"""Requests in a quarter of the warm-up; fewer tell nothing."""


def warm(o: Observed, limits: Limits) -> Iterator[Doubt]:
    before, last = (_warming(o, quarter) for quarter in (2, 3))
    if min(before.size, last.size) >= _FEW and _apart(before, last) > SIGMAS:
        earlier, later = float(np.median(before)) / NS_PER_MS, float(np.median(last)) / NS_PER_MS
        if abs(later - earlier) > limits.cold_share * earlier:
            yield Doubt(
                Code.COLD,
                f"P50 was {earlier:.3g} ms in the third quarter of the warm-up and {later:.3g} ms "
                "in the last",
            )


def _warming(o: Observed, quarter: int) -> I64:
    """Response times, ns, of a quarter of the warm-up, counted from 0; none where it is unknown."""
    if o.evidence is None:
        return np.empty(0, dtype=np.int64)
    sent, width = o.sent, o.load.warmup_ns / 4
    since = sent.intended_ns - o.evidence.start_ns
    mine = (since >= quarter * width) & (since < (quarter + 1) * width) & (sent.done_ns >= 0)
    return (sent.done_ns - sent.intended_ns)[mine]


def _apart(a: I64, b: I64) -> float:
    """The rank-sum statistic of two samples, in standard deviations (Mann and Whitney 1947)."""
    order = np.argsort(np.concatenate((a, b)), kind="stable")
    ranks = np.empty(order.size)
    ranks[order] = np.arange(1, order.size + 1)
    mean = a.size * (order.size + 1) / 2
    return float(abs(ranks[: a.size].sum() - mean) / math.sqrt(mean * b.size / 6))
