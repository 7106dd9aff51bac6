from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from analysis.findings.finding import Where
from services.scenario.facts import EMPTY
from tests.analysis.build import Traces, kinds


def burst(
    durations: list[float], *, slow: str | None = None, traces: int = 12, replicas: int = 4
) -> Traces:
    """Calls of one edge at once. Replicas take turns; on ``slow`` a call takes 8 times as long."""
    made = Traces()
    for t in range(traces):
        request = made.request(f"t{t}", end=100)
        for i, duration in enumerate(durations):
            instance = f"stock/{(t + i) % replicas}"
            length = duration * 8 if instance == slow else duration
            request.call("stock", "get", 1, 1 + length, tax=0.1, instance=instance)
    return made


@pytest.mark.parametrize(
    ("durations", "found"),
    [
        ([10, 10, 10, 29.9], 0),
        ([10, 10, 10, 30], 1),
        ([10, 40], 0),
        ([10, 10, 40], 1),
        ([10, 40, 40, 40], 0),
    ],
)
def test_three_times_the_median_straggles(durations: list[float], found: int) -> None:
    assert len(burst(durations).found("fanout.straggler")) == found


def test_a_slow_replica_is_named_and_hedged() -> None:
    (finding,) = burst([10] * 4, slow="stock/2").found("fanout.straggler")
    assert finding.where == Where("gateway", "POST /buy", "stock", "POST /get", "http", "stock/2")
    assert finding.cost_ms.p50 == pytest.approx(70)
    assert finding.saving_ms == pytest.approx((60, 70))
    assert finding.refactor == {
        "op": "hedge",
        "edge": "gateway->stock.POST /get",
        "after": "10ms",
    }
    assert finding.count_per_request.p50 == 4
    assert "25% of single calls straggle, in 12 of 12 requests" in finding.text
    assert "Hedged after 10ms, 25% of the calls are sent twice." in finding.text


def test_a_hedge_waits_for_as_long_as_nearly_all_that_do_not_straggle() -> None:
    """Of 20 usual calls one takes 19 ms, and the P95 by nearest rank is that one's."""
    made = Traces()
    for t in range(12):
        request = made.request(f"t{t}", end=200)
        for i, length in enumerate([*([10] * 18), 18.1, 19, 90]):
            request.call("stock", "get", 1, 1 + length, tax=0.1, instance=f"stock/{i}")
    (finding,) = made.found("fanout.straggler")
    assert finding.refactor is not None
    assert finding.refactor["after"] == "19ms"


def test_what_chance_makes_slow_twice_is_not_hedged() -> None:
    """Three of seven calls are slow, whoever answers: both attempts of one of the seven in
    1 − (1 − (3/7)²)⁷ = 76 % of the requests."""
    made = Traces()
    for t in range(20):
        request = made.request(f"t{t}")
        for i in range(7):
            length = 60 if (i + t) % 7 < 3 else 10
            request.call("stock", "get", 1, 1 + length, instance=f"stock/{i % 2}")
    (finding,) = made.found("fanout.straggler")
    assert finding.refactor is None
    assert finding.saving_ms == (0.0, 0.0)
    assert "by chance both are slow in 76% of requests" in finding.text


def test_where_half_are_slow_no_hedge_is_sent_in_time() -> None:
    """Among four slow and two usual calls the slow ones are no stragglers, and later than none."""
    made = Traces()
    for t in range(20):
        request = made.request(f"t{t}")
        for i in range(6):
            length = 60 if i < (4 if t % 2 else 2) else 10
            request.call("stock", "get", 1, 1 + length, instance=f"stock/{(i + t) % 2}")
    (finding,) = made.found("fanout.straggler")
    assert finding.refactor is None
    assert finding.saving_ms == (0.0, 0.0)
    assert "a hedge would come too late" in finding.text


def test_without_an_instance_that_stands_out_none_is_named() -> None:
    made = Traces()
    for t in range(12):
        request = made.request(f"t{t}")
        for i in range(4):
            length = 80 if i == t % 4 else 10
            request.call("stock", "get", 1, 1 + length, instance=f"stock/{i}")
    (finding,) = made.found("fanout.straggler")
    assert finding.where.instance is None
    assert finding.confidence == "medium"


def test_two_calls_to_the_slow_replica_cost_what_both_are_waited_for() -> None:
    made = Traces()
    for t in range(12):
        request = made.request(f"t{t}")
        for i in range(6):
            slow = i in (2, 5)
            request.call(
                "stock", "get", 1, 1 + (60 + i if slow else 10), instance=f"stock/{int(slow)}"
            )
    (finding,) = made.found("fanout.straggler")
    assert finding.where.instance == "stock/1"
    assert finding.cost_ms.p50 == pytest.approx(55)


def test_one_replica_cannot_be_hedged() -> None:
    known = replace(EMPTY, known=True, replicas={"stock": 1})
    (finding,) = burst([10, 10, 10, 50]).found("fanout.straggler", facts=known)
    assert finding.refactor is None


def test_what_goes_over_a_topic_cannot_be_hedged() -> None:
    made = Traces()
    for t in range(12):
        request = made.request(f"t{t}")
        for i in range(4):
            request.call("stock", "get", 1, 80 if i == 2 else 10, protocol="kafka")
    (finding,) = made.found("fanout.straggler")
    assert finding.refactor is None


Length = Callable[[int, int, int], float]
"""Of a call: by the number of its request, its own there, and the replica."""


def in_turn(
    calls: int,
    length: Length,
    *,
    replicas: int = 3,
    traces: int = 12,
    protocol: str = "http",
    end: float = 200,
) -> Traces:
    """Calls of one edge one after another in each request. Replicas take turns."""
    made = Traces()
    for t in range(traces):
        request = made.request(f"t{t}", end=end)
        at = 1.0
        for i in range(calls):
            replica = (t * calls + i) % replicas
            took = length(t, i, replica)
            request.call(
                "drivers",
                "get",
                at,
                at + took,
                tax=0.1,
                protocol=protocol,
                instance=f"drivers/{replica}",
            )
            at += took
    return made


def slow(*replicas: int, took: float = 22) -> Length:
    return lambda t, i, replica: took if replica in replicas else 2


def test_a_slow_replica_is_named_where_calls_are_in_turn() -> None:
    """Ten calls over three replicas, one 20 ms slower: three of them, or four, wait for it."""
    found = in_turn(10, slow(2)).found()
    assert kinds(found) == ["chatty.sequential", "fanout.straggler"]
    (finding,) = (f for f in found if f.kind == "fanout.straggler")
    assert finding.where == Where(
        "gateway", "POST /buy", "drivers", "POST /get", "http", "drivers/2"
    )
    assert finding.cost_ms.p50 == pytest.approx(60)
    assert finding.count_per_request.p50 == 10
    assert finding.confidence == "high"
    assert finding.text == (
        "gateway.POST /buy calls drivers.POST /get 10 times in one request, one after another; "
        "drivers/2 is the slow one: P50 22.0 ms against 2.00 ms of the others; 33% of calls. "
        "Hedged after 2ms, 33% of the calls are sent twice."
    )


def test_the_straggling_calls_alone_are_its_evidence() -> None:
    made = in_turn(9, slow(2))
    (finding,) = made.found("fanout.straggler")
    assert [len(cited.span_ids) for cited in finding.evidence] == [3, 3, 3]


def test_one_in_turn_is_hedged_after_nearly_all_that_others_answer() -> None:
    """A hedge asks again after 2 ms, and has its answer another median later."""
    (finding,) = in_turn(9, slow(2)).found("fanout.straggler")
    assert finding.refactor == {"op": "hedge", "edge": "gateway->drivers.POST /get", "after": "2ms"}
    assert finding.saving_ms == pytest.approx((3 * (20 - 2), 60))


@pytest.mark.parametrize(
    ("case", "length", "replicas", "found"),
    [
        ("just below three times the median", slow(2, took=5.9), 3, 0),
        ("three times the median", slow(2, took=6), 3, 1),
        ("one of two", slow(1), 2, 1),
        ("two of four", slow(2, 3), 4, 0),
        ("the only one, now and then", lambda t, i, replica: 22 if i == 3 else 2, 1, 0),
        ("chance", lambda t, i, replica: 60 if (i + 3 * t) % 10 == 0 else 2, 3, 0),
        ("one now and then", lambda t, i, replica: 22 if replica == i % 9 == 2 else 2, 3, 0),
    ],
)
def test_only_an_instance_that_stands_out_straggles_in_turn(
    case: str, length: Length, replicas: int, found: int
) -> None:
    made = in_turn(10, length, replicas=replicas)
    assert len(made.found("fanout.straggler")) == found


@pytest.mark.parametrize(("traces", "found"), [(5, 0), (6, 1)])
def test_a_median_of_fewer_calls_than_tell_one_says_nothing(traces: int, found: int) -> None:
    """Each request asks each of three replicas once."""
    made = in_turn(3, slow(2), traces=traces)
    assert len(made.found("fanout.straggler")) == found


@pytest.mark.parametrize(("calls", "found"), [(2, 0), (3, 1)])
def test_two_calls_in_turn_have_no_siblings_worth_the_name(calls: int, found: int) -> None:
    made = in_turn(calls, slow(2), traces=30)
    assert len(made.found("fanout.straggler")) == found


@pytest.mark.parametrize(
    ("replicas", "protocol"), [({"drivers": 1}, "http"), ({"drivers": 3}, "kafka")]
)
def test_where_nobody_else_can_be_asked_one_in_turn_is_named_and_not_hedged(
    replicas: dict[str, int], protocol: str
) -> None:
    known = replace(EMPTY, known=True, replicas=replicas)
    made = in_turn(10, slow(2), protocol=protocol)
    (finding,) = made.found("fanout.straggler", facts=known)
    assert finding.where.instance == "drivers/2"
    assert finding.refactor is None


def test_who_handles_a_message_is_no_straggler_of_those_who_send() -> None:
    made = Traces()
    for t in range(12):
        request = made.request(f"t{t}")
        for i in range(6):
            sent = 1 + 10 * i
            length = 9 if i % 3 == 2 else 1
            request.publish("mail", "sent", sent, sent + length, (50, 60))
    assert made.found("fanout.straggler") == ()


def test_what_nobody_waits_for_costs_nothing() -> None:
    """Beside calls in turn, one that outlasts them all."""
    made = Traces()
    for t in range(12):
        request = made.request(f"t{t}", end=100)
        request.call("price", "quote", 1, 99)
        for i in range(9):
            start, length = 2 + 10 * i, 9 if i % 3 == 2 else 2
            request.call("drivers", "get", start, start + length, instance=f"drivers/{i % 3}")
    analysis = made.analysed()
    assert kinds(analysis.findings) == []
    (minor,) = (f for f in analysis.minor if f.kind == "fanout.straggler")
    assert minor.cost_ms.p50 == 0


@pytest.mark.parametrize(("slow_in_turn", "cost"), [(9, 30), (40, 3 * 38)])
def test_an_edge_at_once_and_in_turn_straggles_where_it_costs_most(
    slow_in_turn: float, cost: float
) -> None:
    """Half of the requests wait 30 ms for drivers/2 once; the others for three of its calls."""
    made = Traces()
    for t in range(20):
        request = made.request(f"t{t}", end=200)
        at = 1.0
        for i in range(9):
            name = f"drivers/{i % 3}"
            if t % 2:
                request.call("drivers", "get", 1, 41 if i == 2 else 11, instance=name)
                continue
            length = slow_in_turn if i % 3 == 2 else 2
            request.call("drivers", "get", at, at + length, instance=name)
            at += length
    (finding,) = made.found("fanout.straggler")
    assert finding.where.instance == "drivers/2"
    assert finding.cost_ms.p50 == pytest.approx(cost)
