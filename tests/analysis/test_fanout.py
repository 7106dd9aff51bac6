from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from analysis.findings.finding import Where
from services.scenario.facts import EMPTY, Facts
from tests.analysis.build import Traces, kinds

Calls = Iterable[tuple[str, float, float]]


def called(calls: Calls, *, traces: int = 10) -> Traces:
    """gateway calls (service, start, end) for each request."""
    made = Traces()
    for t in range(traces):
        request = made.request(f"t{t}")
        for service, start, end in calls:
            request.call(service, "get", start, end)
    return made


def facts(*dependent: tuple[str, str]) -> Facts:
    """(earlier, later) services of gateway's calls."""
    return replace(
        EMPTY,
        known=True,
        dependent=frozenset(
            ("gateway", "POST /buy", f"{a}.POST /get", f"{b}.POST /get") for a, b in dependent
        ),
    )


SEQUENTIAL = [
    ("two edges", [("a", 1, 20), ("b", 21, 40)], []),
    ("three edges", [("a", 1, 20), ("b", 21, 40), ("c", 41, 70)], ["fanout.sequential"]),
    ("three edges that touch", [("a", 1, 20), ("b", 20, 40), ("c", 40, 70)], ["fanout.sequential"]),
    ("two of three overlap", [("a", 1, 20), ("b", 19, 40), ("c", 41, 70)], []),
    ("one spans all", [("a", 1, 80), ("b", 2, 20), ("c", 21, 40), ("d", 41, 60)], []),
    (
        "overlap elsewhere does not matter",
        [("a", 1, 20), ("b", 21, 40), ("c", 41, 60), ("d", 61, 80), ("e", 65, 90)],
        ["fanout.sequential"],
    ),
    (
        "repeats of an edge count once",
        [("a", 1, 10), ("a", 11, 20), ("b", 21, 40), ("b", 41, 50)],
        [],
    ),
    (
        "what is chatty counts not at all",
        [("a", 4 * i, 4 * i + 3) for i in range(6)] + [("b", 30, 50), ("c", 51, 80)],
        ["chatty.sequential"],
    ),
]


@pytest.mark.parametrize(
    ("calls", "expected"), [c[1:] for c in SEQUENTIAL], ids=[c[0] for c in SEQUENTIAL]
)
def test_different_edges_one_after_another(calls: Calls, expected: list[str]) -> None:
    found = called(calls).found()
    assert kinds(f for f in found if f.kind != "protocol.tax") == expected


def test_what_could_be_saved_is_all_but_the_dearest_call() -> None:
    made = called([("a", 1, 11), ("b", 11, 41), ("c", 41, 61)])
    (finding,) = made.found("fanout")
    assert finding.where == Where("gateway", "POST /buy", protocol="http")
    assert finding.count_per_request.p50 == 3
    assert finding.cost_ms.p50 == 60
    assert finding.saving_ms == (0.0, 30.0)
    assert finding.refactor == {"op": "parallelize", "at": "gateway.POST /buy"}
    assert finding.confidence == "low"


@pytest.mark.parametrize(
    ("dependent", "found"),
    [
        ([], 1),
        ([("a", "b")], 0),
        ([("a", "b"), ("a", "c"), ("b", "c")], 0),
    ],
)
def test_calls_that_need_each_others_results_are_not_independent(
    dependent: list[tuple[str, str]], found: int
) -> None:
    made = called([("a", 1, 20), ("b", 21, 40), ("c", 41, 70)])
    findings = made.found("fanout", facts=facts(*dependent))
    assert len(findings) == found
    assert all(f.confidence == "high" for f in findings)


def test_a_dependent_call_is_left_out_of_the_count() -> None:
    made = called([("a", 1, 20), ("b", 21, 40), ("c", 41, 60), ("d", 61, 80)])
    (finding,) = made.found("fanout", facts=facts(("a", "b")))
    assert finding.count_per_request.p50 == 3
    assert "b.POST /get" not in finding.text


def test_of_many_edges_the_text_names_a_few() -> None:
    made = called([(f"s{i:03d}", 1 + i, 2 + i) for i in range(60)])
    (finding,) = made.found("fanout.sequential")
    assert "s000.POST /get" in finding.text
    assert "s011.POST /get and 48 more" in finding.text
    assert "s012" not in finding.text


def test_choices_that_differ_by_request_make_one_finding() -> None:
    made = Traces()
    for t in range(12):
        request = made.request(f"t{t}")
        for i, service in enumerate(("a", "b", "c", "d")[t % 2 :]):
            request.call(service, "get", 1 + 20 * i, 19 + 20 * i)
    (finding,) = made.found("fanout")
    assert (finding.count_per_request.n, finding.count_per_request.max) == (12, 4)


@pytest.mark.parametrize(("at_once", "found"), [(20, 0), (21, 1)])
def test_more_than_twenty_in_flight_at_once_are_a_storm(at_once: int, found: int) -> None:
    made = called([(f"s{i % 7}", 1 + i / 10, 50 + i / 10) for i in range(at_once)])
    findings = made.found("fanout.storm")
    assert len(findings) == found


def test_a_storm_is_bounded_at_its_busiest_edge() -> None:
    calls = [("a", 1, 50 + i / 10) for i in range(15)] + [("b", 1, 60 + i / 10) for i in range(50)]
    (finding,) = called(calls).found("fanout.storm")
    assert finding.where == Where("gateway", "POST /buy", protocol="http")
    assert finding.refactor == {"op": "bound", "edge": "gateway->b.POST /get", "max": 20}
    assert finding.count_per_request.p50 == 65
    assert "critical" in finding.text
    assert finding.confidence == "high"


@pytest.mark.parametrize("reverse", [False, True])
def test_of_edges_equally_busy_the_first_by_name_is_bounded(reverse: bool) -> None:
    calls = [(s, 1, 50) for s in ("zoo", "ant") for _ in range(15)]
    (finding,) = called(calls[::-1] if reverse else calls).found("fanout.storm")
    assert finding.refactor is not None
    assert finding.refactor["edge"] == "gateway->ant.POST /get"


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


def test_sequential_calls_do_not_straggle() -> None:
    made = called([("a", 1, 3), ("a", 4, 6), ("a", 7, 9), ("a", 10, 60)])
    assert made.found("fanout.straggler") == ()
