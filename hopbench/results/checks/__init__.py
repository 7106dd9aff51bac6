"""The self-checks of a round: what was observed, held against the limits, as doubts.

Pure: every check is a function from what one round showed to the doubts that it raises, listed in
:data:`CHECKS`. A check that lacks its figure says so (``unmeasured``) where the figure should be
there, and is silent where it cannot be (simulated rounds have no host).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from hopbench.results.checks import (
    figures,
    generator,
    host,
    messages,
    parts,
    services,
    telemetry,
    warmup,
)
from hopbench.results.checks.observed import Observed
from hopbench.runs.limits import Limits
from services.doubts import Code, Doubt

Check = Callable[[Observed, Limits], Iterator[Doubt]]

CHECKS: Final[tuple[Check, ...]] = (
    parts.whole,
    generator.samples,
    generator.lag,
    generator.slices,
    generator.rate,
    generator.arrivals,
    generator.spent,
    services.overload,
    generator.drops,
    generator.sampling,
    host.shares,
    services.processes,
    services.failures,
    telemetry.spans,
    telemetry.control,
    telemetry.traces,
    telemetry.metrics,
    messages.balance,
    messages.broker,
    host.environment,
    parts.own,
    warmup.warm,
    figures.meaning,
)
FOLLOW_FROM_A_DEATH: Final = frozenset({Code.SPANS_MISMATCH, Code.REDELIVERED, Code.UNMEASURED})
"""A part takes its spans and its counts with it, and another member of the group handles its
messages; what a round did not live to see is not unknown by the platform. Beside ``broken`` these
are no doubts of their own, and lead away from it."""


def judge(observed: Observed, limits: Limits) -> tuple[Doubt, ...]:
    """Every doubt about one round, in the order of :data:`CHECKS`."""
    doubts = tuple(doubt for check in CHECKS for doubt in check(observed, limits))
    if any(doubt.code is Code.BROKEN for doubt in doubts):
        return tuple(doubt for doubt in doubts if doubt.code not in FOLLOW_FROM_A_DEATH)
    return doubts
