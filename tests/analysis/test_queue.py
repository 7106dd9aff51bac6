"""Queues that grow, told by counts; and what spans say of a wait."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from analysis.analyse import concluded, observe
from analysis.findings.finding import Finding
from analysis.findings.flows import Flow, together
from analysis.findings.settings import Settings
from analysis.spans.table import empty
from services.scenario.facts import Facts, facts_of
from services.scenario.file.parser import parse_text

CAPACITY = 20.0


def flow(
    arrived: list[int],
    *,
    capacity: float = CAPACITY,
    patience: int | None = None,
    round: int = 1,
    **of: str,
) -> Flow:
    """Arrivals of a second that are handled at ``capacity``; the first two seconds are warm-up.
    More than ``patience`` that wait are given up."""
    waiting, left, handled = 0, [], []
    for came in arrived:
        waiting += came
        done = min(waiting, int(capacity))
        gone = 0 if patience is None else max(0, waiting - done - patience)
        waiting -= done + gone
        handled.append(done)
        left.append(done + gone)
    return Flow(
        round=round,
        service=of.get("service", "c"),
        instance=of.get("instance"),
        operation=of.get("operation", "ev"),
        protocol=of.get("protocol", "kafka"),
        second=np.arange(-2, len(arrived) - 2),
        arrived=np.array(arrived),
        left=np.array(left),
        handled=np.array(handled),
        measured_s=len(arrived) - 2,
    )


def poisson(rate: float, seconds: int, seed: int) -> list[int]:
    draw = random.Random(seed)
    found, at = [0] * seconds, draw.expovariate(rate)
    while at < seconds:
        found[int(at)] += 1
        at += draw.expovariate(rate)
    return found


def facts(service: str = "workers: 1", edge: str = "", steps: str = "sleep: 50ms") -> Facts:
    return facts_of(
        parse_text(
            f"""
version: 1
name: behind
services:
  g: {{operations: {{go: [{{publish: c.ev{edge}}}]}}}}
  c: {{{service}, operations: {{ev: [{steps}]}}}}
load: {{rate: 40/s, entry: g.go}}
"""
        )
    )


def found(*flows: Flow, of: Facts | None = None) -> list[Finding]:
    seen = observe(empty(), of or facts(), Settings(), "run", flows)
    return list(concluded(seen)[0])


def test_more_than_it_can_do_is_a_finding_with_rates_and_what_would_do() -> None:
    (only,) = found(flow([40] * 12))
    assert only.kind == "queue.backlog"
    assert (only.where.callee, only.where.operation, only.where.protocol) == ("c", "ev", "kafka")
    assert "40.0 messages come in a second, and it handles 20.0" in only.text
    assert "when the 10 measured seconds ended, 240 were waiting" in only.text
    assert only.refactor == {"op": "set", "at": "c", "workers": 3}
    assert only.cost_ms.n == 0
    assert only.evidence == ()


@pytest.mark.parametrize(
    ("rate", "seconds", "share"),
    [
        (10.0, 12, (0.0, 0.0)),
        (16.0, 12, (0.0, 0.02)),
        (16.0, 32, (0.0, 0.0)),
        (19.0, 32, (0.0, 0.05)),
        (24.0, 10, (0.7, 1.0)),
        (24.0, 22, (0.95, 1.0)),
        (30.0, 8, (0.95, 1.0)),
        (40.0, 6, (1.0, 1.0)),
    ],
)
def test_who_keeps_up_is_told_from_who_does_not(
    rate: float, seconds: int, share: tuple[float, float]
) -> None:
    """Of 100 queues with one server that can do 20/s."""
    told = sum(bool(found(flow(poisson(rate, seconds, seed)))) for seed in range(100))
    assert share[0] <= told / 100 <= share[1]


def test_a_burst_that_is_worked_off_is_none() -> None:
    assert not found(flow([200, 100, *[10] * 20]))
    assert not found(flow([0, 0, 100, *[10] * 20]))


def test_requests_that_give_up_in_the_queue_do_not_hide_it() -> None:
    (only,) = found(flow([40] * 12, patience=30, protocol="http"))
    assert "40.0 requests come in a second, and it handles 20.0 in time" in only.text


def test_a_service_is_judged_by_all_that_goes_through_it() -> None:
    a, b = flow([15] * 12, capacity=10, operation="a"), flow([15] * 12, capacity=10, operation="b")
    (whole,) = together((a, b))
    assert (whole.operation, whole.protocol) == (None, "kafka")
    assert whole.arrived.tolist() == [30] * 12
    (only,) = found(a, b)
    assert only.where.operation is None


def test_one_round_of_three_is_chance() -> None:
    calm = [flow([10] * 12, round=number) for number in (1, 2)]
    behind = flow([40] * 12, round=3)
    assert not found(*calm, behind)
    assert found(calm[0], behind, replace(behind, round=4))


@pytest.mark.parametrize(
    ("of", "refactor"),
    [
        (facts("workers: 4"), {"op": "set", "at": "c", "workers": 10}),
        (facts("workers: 2, replicas: 2"), {"op": "set", "at": "c", "workers": 5}),
        (facts("workers: 1", steps="work: 50ms"), {"op": "set", "at": "c", "replicas": 3}),
        (facts("replicas: 2"), {"op": "set", "at": "c", "replicas": 5}),
        (
            facts("replicas: 1", ", kafka: {ordering: partition}"),
            {"op": "set", "at": "g->c.ev", "partitions": 10},
        ),
        (
            facts("workers: 2", ", kafka: {ordering: partition}"),
            {"op": "set", "at": "c", "workers": 5},
        ),
    ],
)
def test_what_it_lacks_is_proposed(of: Facts, refactor: dict[str, object]) -> None:
    (only,) = found(flow([40] * 12), of=of)
    assert only.refactor == refactor


def test_partitions_are_proposed_to_the_topic_that_waits_and_to_nobody_else() -> None:
    in_order = ", kafka: {ordering: partition}"
    busy = facts("replicas: 1", in_order, "work: 50ms")
    (only,) = found(flow([40] * 12), of=busy)
    assert only.refactor == {"op": "set", "at": "c", "replicas": 3}
    of = facts("workers: 4", in_order)
    (only,) = found(flow([40] * 12, protocol="http"), of=of)
    assert only.refactor == {"op": "set", "at": "c", "workers": 10}


def test_a_topic_has_the_partitions_that_any_edge_asks_for() -> None:
    of = facts(
        "replicas: 1",
        ", kafka: {ordering: partition}}, {publish: c.ev, id: again, kafka: {partitions: 16}",
    )
    (only,) = found(flow([40] * 12), of=of)
    assert only.refactor == {"op": "set", "at": "g->c.ev", "partitions": 40}


def test_where_nothing_was_handled_in_time_nothing_is_advised() -> None:
    (only,) = found(flow([40] * 12, capacity=0, patience=10))
    assert only.refactor is None


def test_what_was_dropped_would_have_come_too() -> None:
    (only,) = found(replace(flow([40] * 12), due_for_sent=2.0))
    assert "40.0 messages come in a second (80.0 without drops)" in only.text
    assert only.refactor == {"op": "set", "at": "c", "workers": 5}


def test_without_counts_nothing_is_said() -> None:
    assert found() == []
