"""What the replicas of a round counted second by second, put together by service."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from analysis.arrays import I64
from analysis.findings.flows import Flow
from hopbench.runs.trial import Trial
from services import report
from services.report import BySecond, Messages

_NANO = 1_000_000_000


def flows(found: Trial) -> tuple[Flow, ...]:
    """Of a round; none of one that left no evidence."""
    evidence = found.evidence
    if evidence is None or evidence.slices is not None:
        # Seconds of a sitting are not those of one of its arms.
        return ()
    measured = found.samples.filter(pl.col("phase") == "measured")
    sent = measured["sent_ns"].count()
    return counted(
        ((process.service, process.replica, process.flows) for process in evidence.processes),
        evidence.messages(),
        round=found.turn.round,
        measured_s=(evidence.measured_to_ns - evidence.measured_from_ns) // _NANO,
        due_for_sent=measured.height / sent if sent else 1.0,
    )


def counted(
    replicas: Iterable[tuple[str, int, Sequence[report.Flow]]],
    messages: Iterable[Messages],
    *,
    round: int,
    measured_s: int,
    due_for_sent: float,
) -> tuple[Flow, ...]:
    """One for each service, operation and protocol that anything came over, and of services with
    several replicas one for each of these, all of the same seconds."""
    parts: dict[_Way, _Part] = {}
    known: dict[str, int] = {}
    for service, replica, of in replicas:
        known[service] = known.get(service, 0) + 1
        for flow in of:
            for instance in (None, f"{service}/{replica}"):
                way = (service, instance, flow.operation, flow.protocol)
                parts.setdefault(way, _Part()).add(flow)
    produced: dict[str, Counter[int]] = {}
    for one in messages:
        for name, sent in one.produced_in.items():
            _add(produced.setdefault(name, Counter()), sent)
    for name, sent in produced.items():
        service, _, operation = name.partition(".")
        # Those for a reply have two.
        if service in known and "." not in operation:
            # Only the producers know of messages that nobody has read.
            parts.setdefault((service, None, operation, "kafka"), _Part()).arrived = sent
    chosen = {
        way: part
        for way, part in parts.items()
        if way[1] is None or (known[way[0]] > 1 and way[3] != "kafka")
    }
    seconds = _seconds(chosen.values(), measured_s)
    return tuple(
        Flow(
            round=round,
            service=service,
            instance=instance,
            operation=operation,
            protocol=protocol,
            second=seconds,
            arrived=_column(part.arrived, seconds),
            left=_column(part.left, seconds),
            handled=_column(part.handled, seconds),
            measured_s=measured_s,
            due_for_sent=due_for_sent,
        )
        for (service, instance, operation, protocol), part in sorted(
            chosen.items(), key=lambda item: tuple(name or "" for name in item[0])
        )
    )


_Way = tuple[str, str | None, str, str]
"""Service, instance, operation and protocol."""


@dataclass(slots=True)
class _Part:
    arrived: Counter[int] = field(default_factory=Counter)
    left: Counter[int] = field(default_factory=Counter)
    handled: Counter[int] = field(default_factory=Counter)

    def add(self, flow: report.Flow) -> None:
        _add(self.arrived, flow.arrived)
        _add(self.left, flow.left)
        _add(self.handled, flow.handled)


def consumer_lag(flows: Sequence[Flow], seconds: Iterable[int]) -> list[int | None]:
    """Messages that no worker had taken when each of ``seconds`` ended; None where none went over
    Kafka."""
    over = [flow for flow in flows if flow.protocol == "kafka"]
    if not over:
        return [None for _ in seconds]
    waiting = np.sum([flow.waiting for flow in over], axis=0)
    first = int(over[0].second[0])
    last = len(waiting) - 1
    return [int(waiting[min(at - first, last)]) if at >= first else 0 for at in seconds]


def last_message(flows: Iterable[Flow]) -> int | None:
    """The last second in which a message was handled or waited; None where there was none."""
    over = [f.second[(f.handled > 0) | (f.waiting > 0)] for f in flows if f.protocol == "kafka"]
    return max((int(seconds[-1]) for seconds in over if len(seconds)), default=None)


def _add(into: Counter[int], counted: BySecond) -> None:
    for second, count in counted.items():
        into[second] += count


def _seconds(parts: Iterable[_Part], measured_s: int) -> I64:
    """All that were counted in, and all of the measured phase."""
    every = [0, measured_s - 1]
    every += [at for part in parts for of in (part.arrived, part.left, part.handled) for at in of]
    return np.arange(min(every), max(every) + 1, dtype=np.int64)


def _column(counted: BySecond, seconds: I64) -> I64:
    column = np.zeros(len(seconds), np.int64)
    for second, count in counted.items():
        column[second - int(seconds[0])] += count
    return column
