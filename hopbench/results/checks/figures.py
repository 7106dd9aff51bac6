"""What a reader should know before believing a figure of this round."""

from __future__ import annotations

from collections.abc import Iterator

from hopbench.results.checks.observed import Observed
from hopbench.runs.limits import Limits
from services.doubts import Code, Doubt


def meaning(o: Observed, limits: Limits) -> Iterator[Doubt]:
    """What a reader should know before believing a figure of this round."""
    duration, warmup = o.load.duration_ns / 1e9, o.load.warmup_ns / 1e9
    if duration < limits.short_round_s:
        yield Doubt(Code.SHORT_ROUND, f"the measured phase is {duration:g} s long")
    if warmup < limits.short_warmup_s:
        yield Doubt(Code.SHORT_WARMUP, f"the warm-up is {warmup:g} s long")
    if o.broker == "embedded" and o.kafka_used:
        yield Doubt(
            Code.EMBEDDED_BROKER,
            "Kafka figures come from the embedded broker (librdkafka's mock), which is no Kafka",
        )
    if o.unidentifiable:
        yield Doubt(
            Code.NOT_IDENTIFIABLE,
            "too few requests, or too many never answered, to tell " + ", ".join(o.unidentifiable),
        )
