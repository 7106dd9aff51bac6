"""What the replicas of a round counted second by second, put together by service."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import polars as pl

from analysis.arrays import I64
from analysis.findings.flows import Flow
from hopbench.runs.trial import Trial
from services.report import BySecond

_NANO = 1_000_000_000


def flows(found: Trial) -> tuple[Flow, ...]:
    """One for each service, operation and protocol that anything came over, of the same seconds
    all; none of a round that left no evidence."""
    evidence = found.evidence
    if evidence is None:
        return ()
    arrived: dict[tuple[str, str, str], Counter[int]] = {}
    left: dict[tuple[str, str, str], Counter[int]] = {}
    handled: dict[tuple[str, str, str], Counter[int]] = {}
    for process in evidence.processes:
        for flow in process.flows:
            way = (process.service, flow.operation, flow.protocol)
            for counted, into in (
                (flow.arrived, arrived),
                (flow.left, left),
                (flow.handled, handled),
            ):
                _add(into.setdefault(way, Counter()), counted)
    produced: dict[str, Counter[int]] = {}
    for messages in evidence.messages():
        for name, counted in messages.produced_in.items():
            _add(produced.setdefault(name, Counter()), counted)
    services = {process.service for process in evidence.processes}
    for name, counted in produced.items():
        service, _, operation = name.partition(".")
        # Those for a reply have two.
        if service in services and "." not in operation:
            # Only the producers know of messages that nobody has read.
            arrived[service, operation, "kafka"] = counted
    measured_s = (evidence.measured_to_ns - evidence.measured_from_ns) // _NANO
    due_for_sent = _due_for_sent(found.samples)
    seconds = _seconds((*arrived.values(), *left.values(), *handled.values()), measured_s)
    nothing: BySecond = {}
    return tuple(
        Flow(
            round=found.turn.round,
            service=way[0],
            operation=way[1],
            protocol=way[2],
            second=seconds,
            arrived=_column(of, seconds),
            left=_column(left.get(way, nothing), seconds),
            handled=_column(handled.get(way, nothing), seconds),
            measured_s=measured_s,
            due_for_sent=due_for_sent,
        )
        for way, of in sorted(arrived.items())
    )


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


def _due_for_sent(samples: pl.DataFrame) -> float:
    measured = samples.filter(pl.col("phase") == "measured")
    sent = measured["sent_ns"].count()
    return measured.height / sent if sent else 1.0


def last_message(flows: Iterable[Flow]) -> int | None:
    """The last second in which a message was handled or waited; None where there was none."""
    over = [f.second[(f.handled > 0) | (f.waiting > 0)] for f in flows if f.protocol == "kafka"]
    return max((int(seconds[-1]) for seconds in over if len(seconds)), default=None)


def _add(into: Counter[int], counted: BySecond) -> None:
    for second, count in counted.items():
        into[second] += count


def _seconds(counted: Iterable[BySecond], measured_s: int) -> I64:
    """All that were counted in, and all of the measured phase."""
    every = [0, measured_s - 1, *(second for of in counted for second in of)]
    return np.arange(min(every), max(every) + 1, dtype=np.int64)


def _column(counted: BySecond, seconds: I64) -> I64:
    column = np.zeros(len(seconds), np.int64)
    for second, count in counted.items():
        column[second - int(seconds[0])] += count
    return column
