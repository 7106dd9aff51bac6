from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from analysis.findings.advice import in_code
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


def test_two_edges_in_turn_are_minor_where_a_scenario_tells_what_they_would_save() -> None:
    made = called([("a", 1, 20), ("b", 21, 40)])
    (finding,) = made.analysed(facts=facts()).minor
    assert (finding.kind, finding.count_per_request.p50) == ("fanout.sequential", 2)
    assert "fanout.sequential" not in kinds(made.analysed().minor)
    assert "fanout.sequential" not in kinds(made.analysed(facts=facts(("a", "b"))).minor)


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


def at_once(**calls: int) -> Calls:
    """So many of each service, all at once."""
    return [(service, 1, 50) for service, number in calls.items() for _ in range(number)]


def test_a_storm_over_one_edge_is_bounded() -> None:
    (finding,) = called(at_once(a=65)).found("fanout.storm")
    assert finding.where == Where("gateway", "POST /buy", "a", "POST /get", "http")
    assert finding.refactor == {"op": "bound", "edge": "gateway->a.POST /get", "max": 20}
    assert finding.text == (
        "gateway.POST /buy has 65 calls in flight at once, a critical number: bound them."
    )


def test_a_storm_is_bounded_at_its_busiest_edge() -> None:
    calls = [("a", 1, 50 + i / 10) for i in range(15)] + [("b", 1, 60 + i / 10) for i in range(50)]
    (finding,) = called(calls).found("fanout.storm")
    assert finding.where == Where("gateway", "POST /buy", protocol="http")
    assert finding.refactor == {"op": "bound", "edge": "gateway->b.POST /get", "max": 5}
    assert finding.count_per_request.p50 == 65
    assert finding.text == (
        "gateway.POST /buy has 65 calls in flight at once, a critical number: 50 of b.POST /get, "
        "15 of a.POST /get. Bound those of b.POST /get."
    )
    assert finding.confidence == "high"


@pytest.mark.parametrize(
    ("calls", "bound"),
    [
        (at_once(a=30, b=19), ("a", 1)),
        (at_once(a=30, b=20), None),
        (at_once(a=11, b=10), ("a", 10)),
        ([*at_once(a=30), *[("b", 60, 90)] * 15], ("a", 20)),  # no storm while b is called
        ([*at_once(a=30), *[("b", 60, 90)] * 21], None),  # another one
        ([*[("a", 1, 90)] * 30, *[("b", 60, 90)] * 5, *[("c", 1, 10)] * 9], ("a", 11)),
    ],
)
def test_one_edge_is_bounded_where_the_others_are_no_storm_beside_it(
    calls: Calls, bound: tuple[str, int] | None
) -> None:
    (finding,) = called(calls).found("fanout.storm")
    if bound is None:
        assert finding.refactor is None
        assert finding.saving_ms == (0.0, 0.0)
        assert finding.text.endswith(" No bound of one edge would do.")
    else:
        edge, most = bound
        wanted = {"op": "bound", "edge": f"gateway->{edge}.POST /get", "max": most}
        assert finding.refactor == wanted
        assert in_code(finding) == f"at most {most} calls of {edge}.POST /get at once"


def test_the_split_of_a_storm_is_the_one_that_most_requests_have() -> None:
    made = Traces()
    for t in range(9):
        request = made.request(f"t{t}")
        for service, start, end in at_once(a=20, b=5) if t % 3 else at_once(a=5, b=20):
            request.call(service, "get", start, end)
    (finding,) = made.found("fanout.storm")
    assert ": 20 of a.POST /get, 5 of b.POST /get. " in finding.text


@pytest.mark.parametrize("reverse", [False, True])
def test_of_edges_equally_busy_the_first_by_name_is_bounded(reverse: bool) -> None:
    calls = [(s, 1, 50) for s in ("zoo", "ant") for _ in range(15)]
    (finding,) = called(calls[::-1] if reverse else calls).found("fanout.storm")
    assert finding.refactor is not None
    assert finding.refactor["edge"] == "gateway->ant.POST /get"
