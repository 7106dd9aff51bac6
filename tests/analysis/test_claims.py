"""One of chatty.*, fanout.sequential and fanout.storm for an edge, the dearest one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest

from analysis.findings.finding import Finding
from services.scenario.facts import EMPTY
from tests.analysis.build import Span, Traces, kinds

Calls = Iterable[tuple[str, float, float]]


def requests(*mix: tuple[int, Calls], end: float = 400) -> Traces:
    """So many requests each with these calls (service, start, end) of gateway."""
    made = Traces()
    for which, (number, calls) in enumerate(mix):
        for t in range(number):
            request = made.request(f"t{which}-{t}", end=end)
            for service, start, stop in calls:
                request.call(service, "get", start, stop)
    return made


def in_turn(service: str, number: int, each: float, begin: float = 1) -> Calls:
    return [(service, begin + i * each, begin + (i + 1) * each) for i in range(number)]


def at_once(service: str, number: int, length: float, begin: float = 1) -> Calls:
    return [(service, begin, begin + length)] * number


def found(made: Traces) -> dict[str, Finding]:
    every = [f for f in made.found() if f.kind != "protocol.tax"]
    assert len({f.kind for f in every}) == len(every)
    return {f.kind: f for f in every}


def every_kind(made: Traces) -> list[str]:
    """With minor ones."""
    analysis = made.analysed()
    return [k for k in kinds((*analysis.findings, *analysis.minor)) if k != "protocol.tax"]


FOUR = [*in_turn("a", 1, 30), *in_turn("b", 1, 30, 31), *in_turn("c", 1, 30, 61)]
FOUR += in_turn("d", 1, 30, 91)
"""a, b, c, d one after another, 30 ms each."""


def test_an_edge_that_is_dearer_as_chatty_is_not_counted_among_those_in_turn() -> None:
    """Of a, half of the requests make six calls, 120 ms; the other half one of 30 ms."""
    of = found(requests((10, FOUR), (10, in_turn("a", 6, 20))))
    assert sorted(of) == ["chatty.sequential", "fanout.sequential"]
    assert of["chatty.sequential"].cost_ms.p50 == 120
    left = of["fanout.sequential"]
    assert (left.count_per_request.p50, left.cost_ms.p50) == (3, 90)
    assert "(b.POST /get, c.POST /get, d.POST /get)" in left.text


def test_an_edge_that_is_dearer_in_turn_is_not_chatty_as_well() -> None:
    """Six calls of 4 ms each, against one of 30 ms."""
    of = found(requests((10, FOUR), (10, in_turn("a", 6, 4))))
    assert list(of) == ["fanout.sequential"]
    assert of["fanout.sequential"].cost_ms.p50 == 120


def test_what_is_left_of_too_few_edges_is_none() -> None:
    of = found(requests((10, FOUR[:3]), (10, in_turn("a", 6, 20))))
    assert list(of) == ["chatty.sequential"]


def test_an_edge_whose_dearest_finding_is_none_has_the_next() -> None:
    """b is dearer in turn, 30 against 24 ms, but without a there are too few in turn."""
    mix = (10, [*in_turn("a", 6, 20), *in_turn("b", 6, 4, 130)])
    made = requests((10, FOUR[:3]), mix)
    every = [f for f in made.found() if f.kind != "protocol.tax"]
    assert [(f.kind, f.where.callee) for f in every] == [
        ("chatty.sequential", "a"),
        ("chatty.sequential", "b"),
    ]


def test_a_minor_finding_does_not_take_an_edge_from_one_that_matters() -> None:
    """One request of six makes 38 calls of a, 380 ms: dearest, and rare."""
    made = requests((5, FOUR), (1, in_turn("a", 38, 10)))
    assert every_kind(made) == ["fanout.sequential"]


def test_what_is_left_is_none_where_it_costs_too_little_to_matter() -> None:
    """Without a, the calls in turn take 12 ms of 400."""
    few = [("a", 1, 30), ("b", 31, 35), ("c", 36, 40), ("d", 41, 45)]
    assert every_kind(requests((10, few), (10, in_turn("a", 6, 20)))) == ["chatty.sequential"]


def test_a_storm_and_calls_one_by_one_in_other_requests_are_one_finding() -> None:
    """25 at once take 40 ms, 6 in turn 60 or 30 ms."""
    storm = at_once("a", 25, 40)
    assert list(found(requests((10, storm), (10, in_turn("a", 6, 10))))) == ["chatty.sequential"]
    assert list(found(requests((10, storm), (10, in_turn("a", 6, 5))))) == ["fanout.storm"]


def test_a_storm_of_one_key_over_and_over_is_redundant() -> None:
    """The same calls make both; keeping the answers spares them."""
    made = Traces()
    for t in range(10):
        request = made.request(f"t{t}")
        for _ in range(25):
            request.call("a", "get", 1, 50, said={"hopbench.key": 7})
    assert list(found(made)) == ["chatty.redundant"]


def test_a_storm_is_of_the_edges_that_are_left_to_it() -> None:
    """Ten of b are in flight with 25 of a; elsewhere 6 of b in turn are dearer."""
    storm = [*at_once("a", 25, 50), *at_once("b", 10, 48)]
    of = found(requests((10, storm), (10, in_turn("b", 6, 20))))
    assert sorted(of) == ["chatty.sequential", "fanout.storm"]
    assert of["fanout.storm"].count_per_request.p50 == 25
    assert of["fanout.storm"].where.callee == "a"


def test_calls_before_a_storm_are_no_part_of_it() -> None:
    calls = [*FOUR, *in_turn("e", 6, 10, 130), *at_once("f", 25, 40, 200)]
    of = found(requests((10, calls)))
    assert sorted(of) == ["chatty.sequential", "fanout.sequential", "fanout.storm"]
    storm = of["fanout.storm"]
    assert (storm.count_per_request.p50, storm.where.callee) == (25, "f")
    assert of["fanout.sequential"].cost_ms.p50 == 120


def test_an_edge_over_two_protocols_has_one_finding() -> None:
    """Six calls of 4 ms over HTTP, six of 8 ms over gRPC, of one operation of the scenario."""
    known = replace(
        EMPTY, known=True, operations=dict.fromkeys(("/get", "stock/get"), ("stock", "get"))
    )
    made = Traces()
    for t in range(10):
        request = made.request(f"t{t}", end=200)
        for i in range(6):
            request.call("stock", "get", 1 + 4 * i, 5 + 4 * i)
            request.call("stock", "get", 101 + 8 * i, 109 + 8 * i, protocol="grpc")
    (finding,) = made.found("chatty", facts=known)
    assert (finding.where.operation, finding.where.protocol) == ("get", "grpc")


def straggling(request: Span) -> None:
    for i in range(6):
        length = 24 if i % 3 == 2 else 3
        start = 1 + 25 * i
        request.call("a", "get", start, start + length, instance=f"a/{i % 3}")


def retried(request: Span) -> None:
    for i in range(5):
        start = 1 + 25 * i
        request.call("a", "get", start, start + 11, error=True)
        said = {"http.request.resend_count": 1}
        request.call("a", "get", start + 12, start + 23, said=said)


@pytest.mark.parametrize(
    ("make", "beside"), [(straggling, "fanout.straggler"), (retried, "retry.storm")]
)
def test_others_stand_beside(make: Callable[[Span], None], beside: str) -> None:
    made = Traces()
    for t in range(10):
        make(made.request(f"t{t}", end=200))
    assert sorted(found(made)) == ["chatty.sequential", beside]
