"""Whether the services were as fast as they get before the first request that counts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from analysis.arrays import I64
from analysis.arrays.quantiles import NS_PER_MS
from analysis.figures import ms
from hopbench.results.checks.observed import Observed
from hopbench.runs.limits import SIGMAS, Limits
from hopbench.statistics.rank_sum import apart
from services.doubts import Code, Doubt

_FEW: Final = 20
"""Requests of which P50s are compared; fewer tell nothing."""


def warm(o: Observed, limits: Limits) -> Iterator[Doubt]:
    before, last = (_warming(o, quarter) for quarter in (2, 3))
    change = _change(before, last, limits)
    if change and not _piled_up(o, last, limits, longer=change > 0):
        earlier, later = (ms(float(np.median(took)) / NS_PER_MS) for took in (before, last))
        yield Doubt(
            Code.COLD,
            f"P50 was {earlier} in the third quarter of the warm-up and {later} in the last",
        )


def _piled_up(o: Observed, last: I64, limits: Limits, *, longer: bool) -> bool:
    """Whether requests queue rather than services get warm: a longer warm-up would make it worse.

    Services that get warm are faster in the end; those that take ``longer`` and longer, all through
    the measured phase, have more to do than they can.
    """
    if (o.sent.dropped & o.sent.measured).any():
        return True
    if not longer:
        return False
    if o.overloads or o.sent.dropped.any():
        return True
    half = o.load.duration_ns / 2
    first, second = (_took(o, o.load.warmup_ns + n * half, half) for n in (0, 1))
    return _change(last, first, limits) > 0 and _change(first, second, limits) > 0


def _change(before: I64, after: I64, limits: Limits) -> float:
    """Of the P50, ns; 0 where it is small, or chance."""
    if min(before.size, after.size) < _FEW or apart(before, after) <= SIGMAS:
        return 0.0
    earlier, later = float(np.median(before)), float(np.median(after))
    return later - earlier if abs(later - earlier) > limits.cold_share * earlier else 0.0


def _warming(o: Observed, quarter: int) -> I64:
    """Response times of a quarter of the warm-up, counted from 0."""
    width = o.load.warmup_ns / 4
    return _took(o, quarter * width, width)


def _took(o: Observed, from_ns: float, width_ns: float) -> I64:
    """Response times, ns, of what was due from then on, counted from the start of the warm-up, for
    so long; none where it is unknown."""
    if o.evidence is None:
        return np.empty(0, dtype=np.int64)
    sent = o.sent
    since = sent.intended_ns - o.evidence.start_ns
    mine = (since >= from_ns) & (since < from_ns + width_ns) & (sent.done_ns >= 0)
    return (sent.done_ns - sent.intended_ns)[mine]
