"""The self-checks of what went over a broker: pure, from what the processes of a round counted."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator

from hopbench.engines.port import BrokerKind
from hopbench.results.checks.observed import Observed
from hopbench.runs.limits import Limits
from services.doubts import Code, Doubt
from services.report import Messages


def balance(o: Observed, limits: Limits) -> Iterator[Doubt]:
    if o.evidence is not None:
        yield from counted(o.evidence.messages(), o.broker)


def broker(o: Observed, limits: Limits) -> Iterator[Doubt]:
    if o.evidence is not None and o.broker == "kafka":
        zero_ns = o.evidence.start_ns + o.evidence.unix_offset_ns
        yield from gaps(o.evidence.messages(), zero_ns)


def counted(messages: Iterable[Messages], broker: BrokerKind | None) -> Iterator[Doubt]:
    """Messages consumed are those produced, each once."""
    produced: Counter[str] = Counter()
    consumed: Counter[str] = Counter()
    unacknowledged: Counter[str] = Counter()
    again: Counter[str] = Counter()
    for of in messages:
        produced.update(of.produced)
        consumed.update(of.consumed)
        unacknowledged.update(of.unacknowledged)
        again.update(of.redelivered)
    for topic in sorted(produced | consumed):
        lost = produced[topic] - consumed[topic]
        if 0 < lost <= unacknowledged[topic]:
            yield Doubt(
                Code.MESSAGES_LOST,
                f"{lost} of {produced[topic]} messages to {topic}, which asks for no "
                "acknowledgement, did not arrive",
            )
        elif lost < 0 and broker == "kafka":
            yield Doubt(
                Code.REDELIVERED,
                f"{-lost} more messages were consumed from {topic} than acknowledged to it: "
                "stored although the producer had given up, or handled twice as partitions moved",
            )
        elif lost:
            yield Doubt(
                Code.CONSUMED_PRODUCED,
                f"{produced[topic]} messages were produced to {topic}, {consumed[topic]} consumed",
            )
    for topic, times in sorted(again.items()):
        yield Doubt(
            Code.REDELIVERED, f"{times} messages came twice to {topic} and were handled once"
        )


def gaps(messages: Iterable[Messages], zero_ns: int) -> Iterator[Doubt]:
    """Times without a broker, as all processes together saw them; ``zero_ns`` is the Unix time at
    which the round's schedule begins."""
    seen = sorted(
        (gap.from_ns - zero_ns, math.inf if gap.to_ns is None else gap.to_ns - zero_ns)
        for of in messages
        for gap in of.gaps
        if gap.to_ns is None or gap.to_ns > zero_ns
    )
    merged: list[tuple[float, float]] = []
    for begun, ended in seen:
        if merged and begun <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], ended))
        else:
            merged.append((begun, ended))
    if merged:
        told = ", and ".join(_gap(begun / 1e9, ended / 1e9) for begun, ended in merged)
        yield Doubt(Code.BROKER_GAP, f"the broker was away {told} of the round")


def _gap(from_s: float, to_s: float) -> str:
    if math.isinf(to_s):
        return f"from {from_s:.1f} s to the end"
    return f"from {from_s:.1f} to {to_s:.1f} s ({to_s - from_s:.1f} s)"
