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
from tests.analysis.build import Traces

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
        (19.0, 12, (0.0, 0.1)),
        (19.0, 32, (0.0, 0.05)),
        (24.0, 10, (0.75, 1.0)),
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


def test_a_machine_that_stops_for_a_moment_leaves_no_backlog_behind() -> None:
    """A few messages wait in the end, who would be handled in a third of a second."""
    hiccup = replace(flow([14] * 7), handled=np.array([14, 14, 14, 13, 14, 13, 12]))
    left = replace(hiccup, left=hiccup.handled)
    assert left.waiting[-1] == 4
    assert found(left) == []


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


def test_a_topic_in_order_is_judged_alone() -> None:
    """Its turns are its own: another topic's idle partitions do not help it."""
    of = facts_of(
        parse_text(
            """
version: 1
name: topics
services:
  g:
    operations:
      go:
        - {publish: c.a, kafka: {partitions: 2, ordering: partition}}
        - {publish: c.b, kafka: {partitions: 2, ordering: partition}}
  c: {operations: {a: [sleep: 15ms], b: [sleep: 2ms]}}
load: {rate: 160/s, entry: g.go}
"""
        )
    )
    slow, fast = flow([160] * 12, capacity=133, operation="a"), flow([160] * 12, capacity=500)
    (only,) = found(slow, replace(fast, operation="b"), of=of)
    assert only.where.operation == "a"
    assert only.refactor == {"op": "set", "at": "g->c.a", "partitions": 4}


def test_who_waits_for_a_callee_is_told_with_what_lacks() -> None:
    """g (ten workers) waits for c (one), whose queue is never longer than what g lets through."""
    made = Traces()
    for t in range(12):
        made.request(f"t{t}", service="g", operation="go").call("c", "ev", 1, 90, queue=60)
    steady = np.full(12, 20)
    narrow = replace(
        flow([20] * 12, protocol="http"), left=np.append(15, steady[1:]), handled=steady
    )
    wide = flow([40] * 12, service="g", operation="go", protocol="http")
    seen = observe(made.table(), facts(), Settings(), "run", (wide, narrow))
    (only,) = (f for f in concluded(seen)[0] if f.kind == "queue.backlog")
    assert only.where.callee == "c"
    assert "g falls behind: 40.0 requests come in a second" in only.text
    assert "It waits for c, which has a queue all the time." in only.text
    assert only.refactor is not None
    assert (only.refactor["at"], "workers" in only.refactor) == ("c", True)


def test_one_replica_that_falls_behind_is_named() -> None:
    of = facts("workers: 1, replicas: 3")
    replicas = [
        flow([8] * 12, capacity=4 if n == 1 else 20, protocol="http", instance=f"c/{n}")
        for n in range(3)
    ]
    whole = replace(
        replicas[0],
        instance=None,
        arrived=np.sum([f.arrived for f in replicas], axis=0),
        left=np.sum([f.left for f in replicas], axis=0),
        handled=np.sum([f.handled for f in replicas], axis=0),
    )
    (only,) = found(whole, *replicas, of=of)
    assert only.where.instance == "c/1"
    assert "c/1 falls behind, and other replicas of c do not" in only.text
    assert only.refactor == {"op": "set", "at": "c", "balance": "least_pending"}


def test_a_load_that_rises_above_what_can_be_done_is_told_from_when_on() -> None:
    rising = [2 + second // 2 for second in range(62)]
    (only,) = found(flow(rising))
    assert "from second 30 on" in only.text


def test_so_is_one_that_rises_in_the_last_seconds() -> None:
    (only,) = found(flow([10] * 36 + [25, 40, 50, 60]))
    assert "from second 34 on" in only.text


def test_what_is_full_and_drops_falls_behind_though_its_queue_is_of_one_length() -> None:
    """As many wait as the load lets in."""
    full = flow([80, 80, *[20] * 10], protocol="http")
    assert not found(full)
    (only,) = found(replace(full, due_for_sent=1.4))
    assert "20.0 requests come in a second (28.0 without drops)" in only.text


def test_what_was_dropped_would_have_come_too() -> None:
    (only,) = found(replace(flow([40] * 12), due_for_sent=2.0))
    assert "40.0 messages come in a second (80.0 without drops)" in only.text
    assert only.refactor == {"op": "set", "at": "c", "workers": 5}


def test_without_counts_nothing_is_said() -> None:
    assert found() == []
