from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from analysis.analyse import Analysis, analyse
from analysis.findings.finding import Finding, ranked
from analysis.findings.settings import Settings
from analysis.spans.naming import by_scenario
from analysis.spans.table import Kind, concat, empty
from services import codec
from services.scenario.facts import EMPTY, Facts
from tests.analysis.build import Traces, kinds


def shop(order: list[int] | None = None) -> Traces:
    """Twelve requests with all sorts of faults; ``order`` in which traces are recorded."""
    made = Traces()
    for t in order or range(12):
        request = made.request(f"t{t:02d}", end=300)
        for i in range(6):
            request.call("stock", "reserve", 1 + 4 * i, 4.5 + 4 * i, tax=0.5 + t / 100)
        for i, service in enumerate(("price", "mail", "tax")):
            request.call(service, "get", 30 + 20 * i, 48 + 20 * i)
        for i in range(5):
            request.call("search", "find", 100, 110 + (50 if i == t % 5 else 0), instance=f"s/{i}")
        at = request
        for i in range(5):
            at = at.call(f"deep{i}", "do", 170 + i, 290 - i)
    return made


def told(analysis: Analysis) -> bytes:
    def of(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
        # Made-up ids follow the order of recording; real ones do not.
        return tuple(
            replace(f, evidence=tuple(replace(e, span_ids=()) for e in f.evidence))
            for f in findings
        )

    return codec.encode(replace(analysis, findings=of(analysis.findings), minor=of(analysis.minor)))


def test_equal_input_gives_equal_bytes() -> None:
    assert told(shop().analysed()) == told(shop().analysed())


def test_the_order_of_traces_in_the_input_does_not_matter() -> None:
    order = list(range(12))
    random.Random(3).shuffle(order)
    assert told(shop(order).analysed()) == told(shop().analysed())


def test_findings_come_dearest_first() -> None:
    findings = shop().analysed().findings
    assert len(findings) >= 4
    costs = [f.cost_ms.p50 for f in findings]
    assert costs == sorted(costs, reverse=True)  # type: ignore[type-var]  # none is None here


def test_what_cannot_be_identified_comes_last_by_fingerprint() -> None:
    findings = shop([0, 1]).analysed().findings
    assert [f.cost_ms.p50 for f in findings] == [None] * len(findings)
    prints = [f.fingerprint for f in findings]
    assert prints == sorted(prints)
    assert ranked(reversed(findings)) == findings


def test_a_fingerprint_is_the_same_in_every_run_and_for_every_amount() -> None:
    one, other = shop().analysed(), shop([0, 1, 2, 3, 4, 5, 6]).analysed()
    assert {f.fingerprint for f in one.findings} == {f.fingerprint for f in other.findings}
    assert len({f.fingerprint for f in one.findings}) == len(one.findings)


def test_no_spans_give_no_findings() -> None:
    analysis = analyse(empty(), EMPTY, Settings(), "run")
    assert (analysis.traces, analysis.edges, analysis.findings) == (0, (), ())


def test_rounds_of_a_variant_are_analysed_together() -> None:
    one, two = shop([0, 1, 2, 3]).table(), shop([0, 1, 2, 3]).table()
    both = analyse(concat([one, two]), EMPTY, Settings(), "run")
    assert both.complete == 8
    assert both.edges[0].calls == 2 * analyse(one, EMPTY, Settings(), "run").edges[0].calls


def halves() -> Traces:
    """A whole trace, and one in which a server's span was lost."""
    made = Traces()
    made.request("whole").call("order", "create", 1, 90)
    made.request("half").client("order", "create", 1, 90)
    return made


@pytest.mark.parametrize(("mode", "calls", "complete"), [("run", 1, 1), ("analyze", 2, 2)])
def test_a_run_judges_complete_traces_alone(mode: Any, calls: int, complete: int) -> None:
    analysis = halves().analysed(mode=mode)
    assert sum(edge.calls for edge in analysis.edges) == calls
    assert (analysis.traces, analysis.complete) == (2, complete)


def taxed() -> Traces:
    made = Traces()
    for t in range(8):
        made.request(f"t{t}").call("order", "create", 1, 91, tax=9)
    return made


@pytest.mark.parametrize(
    ("mode", "expected", "is_finding"),
    [
        ("analyze", (), True),
        ("protocols", (), True),
        ("run", (), False),
        ("run", ("protocol.tax",), True),
    ],
)
def test_a_run_mentions_the_tax_only_where_it_is_expected(
    mode: Any, expected: tuple[str, ...], is_finding: bool
) -> None:
    analysis = taxed().analysed(mode=mode, settings=Settings(expected_kinds=expected))
    assert ("protocol.tax" in kinds(analysis.findings)) is is_finding
    assert ("protocol.tax" in kinds(analysis.minor)) is not is_finding


@pytest.mark.parametrize(("tax", "found"), [(8.9, 0), (9.0, 1)])
def test_a_fifth_of_the_clients_median_is_too_much_tax(tax: float, found: int) -> None:
    made = Traces()
    for t in range(8):
        made.request(f"t{t}").call("order", "create", 1, 91, tax=tax)
    assert len(made.found("protocol")) == found


def test_another_protocol_is_advised_where_these_traces_show_it_better() -> None:
    made = taxed()
    for t in range(8):
        made.request(f"g{t}").call("order", "create", 1, 91, tax=5, protocol="grpc")
    names = {"order/create": ("order", "create"), "/create": ("order", "create")}
    facts = replace(EMPTY, known=True, operations=names)
    (finding,) = made.found("protocol", facts=facts)
    assert finding.refactor == {"op": "protocol", "edge": "gateway->order.create", "to": "grpc"}
    assert finding.saving_ms == (0.0, 8.0)
    assert [f.refactor for f in taxed().found("protocol")] == [None]


@pytest.mark.parametrize(("retried", "found"), [(7, 0), (8, 1)])
def test_twice_the_attempts_are_a_storm_of_retries(retried: int, found: int) -> None:
    made = Traces()
    for t in range(8):
        request = made.request(f"t{t}")
        request.call("order", "create", 1, 30, error=t < retried)
        if t < retried:
            request.call("order", "create", 31, 60, said={"hopbench.attempt": 1})
    findings = made.found("retry")
    assert len(findings) == found
    assert all(f.cost_ms.p50 == 30.0 for f in findings)
    assert all(f.refactor is None for f in findings)


def test_a_retry_costs_its_pauses_too_but_not_what_else_is_waited_for() -> None:
    """Attempts of 2 ms after pauses of 100, 200 and 400 ms; in the second run another call takes
    150 ms of the longest pause."""
    for beside, cost in ((False, 706.0), (True, 556.0)):
        made = Traces()
        for t in range(8):
            request = made.request(f"t{t}", end=710)
            for attempt, start in enumerate((1, 103, 305, 707)):
                request.call(
                    "order",
                    "create",
                    start,
                    start + 2,
                    error=True,
                    said={"hopbench.attempt": attempt},
                )
            if beside:
                request.call("stock", "take", 400, 550)
        (storm,) = made.found("retry")
        assert storm.cost_ms.p50 == cost


@pytest.mark.parametrize(
    ("attribute", "size", "found"),
    [
        ("http.request.body.size", 256 * 1024 - 1, 0),
        ("http.request.body.size", 256 * 1024, 1),
        ("http.response.body.size", 256 * 1024, 1),
    ],
)
def test_a_quarter_of_a_mebibyte_is_too_much_for_one_message(
    attribute: str, size: int, found: int
) -> None:
    made = Traces()
    for t in range(8):
        made.request(f"t{t}").call("order", "create", 1, 91, tax=5, said={attribute: size})
    assert len(made.found("payload")) == found


FACTS = Facts(
    known=True,
    operations={
        "/hopbench.v1.Order/Create": ("order", "create"),
        "order.create": ("order", "create"),
        "order/create": ("order", "create"),
        "stock/create": ("stock", "create"),
    },
    dependent=frozenset(),
    replicas={},
)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"http.request.method": "POST", "http.route": "/create/{key}"}, "create"),
        ({"http.request.method": "POST", "url.full": "http://order/create/77"}, "create"),
        (
            {"rpc.system": "grpc", "rpc.service": "hopbench.v1.Order", "rpc.method": "Create"},
            "create",
        ),
        ({"rpc.system.name": "grpc", "rpc.method": "hopbench.v1.Order/Create"}, "create"),
        ({"messaging.system": "kafka", "messaging.destination.name": "order.create"}, "create"),
        ({"http.request.method": "GET", "url.path": "/health"}, "GET /health"),
    ],
)
def test_operations_have_the_scenarios_name_whatever_the_wire(
    said: dict[str, object], expected: str
) -> None:
    made = Traces()
    made.span("t", None, "order", "n", 0, 9, Kind.SERVER, attributes=said)
    made.span(
        "t", None, "gateway", "n", 0, 9, Kind.CLIENT, attributes={**said, "server.address": "order"}
    )
    table = by_scenario(made.table(), FACTS)
    assert [table.name(int(o)) for o in table.operation] == [expected] * 2
    again = by_scenario(table, FACTS)
    assert np.array_equal(again.operation, table.operation)


def test_100_000_calls_of_one_request_are_one_finding() -> None:
    made = Traces()
    request = made.request("t", end=1_000_000)
    for i in range(100_000):
        request.client("back", "x", 10 * i, 10 * i + 8)
    analysis = made.analysed()
    (finding,) = analysis.findings
    assert (finding.kind, finding.count_per_request.max) == ("chatty.sequential", 100_000)
    assert analysis.edges[0].calls == 100_000
