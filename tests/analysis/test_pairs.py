from __future__ import annotations

import pytest

from analysis.spans.table import Kind
from analysis.traces.pairs import complete_traces, pair
from tests.analysis.build import MS, Traces


def hops(traces: Traces) -> list[str]:
    """Every hop as ``caller.operation->callee.operation protocol``."""
    found, _ = pair(traces.table())
    return [
        f"{p.caller}.{p.caller_operation}->{p.target} {p.protocol}"
        for p in (found.places[int(place)] for place in found.place)
    ]


def test_a_call_is_one_hop_whatever_lies_between() -> None:
    traces = Traces()
    request = traces.request("t")
    served = request.internal("step", 1, 50).internal("inner", 2, 40).call("order", "create", 3, 9)
    served.call("price", "quote", 4, 8, protocol="grpc")
    assert hops(traces) == [
        "gateway.POST /buy->order.POST /create http",
        "order.POST /create->price.price/quote grpc",
    ]


def test_the_tax_is_client_minus_server_and_never_negative() -> None:
    traces = Traces()
    request = traces.request("t")
    request.call("order", "create", 1, 9, tax=1.5)
    client = request.client("order", "create", 20, 30)
    traces.span("t", client, "order", "serve", 100, 120, Kind.SERVER)
    request.client("order", "create", 40, 50)
    found, _ = pair(traces.table())
    assert found.tax.tolist() == [3 * MS, 0, -1]


@pytest.mark.parametrize("link_only", [False, True])
def test_a_message_pairs_by_parent_or_by_link(link_only: bool) -> None:
    traces = Traces()
    traces.request("t").publish("stock", "placed", 1, 2, (5, 9), link_only=link_only)
    found, _ = pair(traces.table())
    assert hops(traces) == ["gateway.POST /buy->stock.stock.placed kafka"]
    assert found.messages.tolist() == [True]
    assert [rows.tolist() for rows in found.deliveries] == [[1], [2]]


def test_what_a_linked_consumer_calls_is_on_its_own_behalf() -> None:
    traces = Traces()
    handled = traces.request("t").publish("stock", "placed", 1, 2, (5, 9), link_only=True)
    handled.call("price", "quote", 6, 8)
    assert hops(traces)[1] == "stock.stock.placed->price.POST /quote http"


def test_a_client_without_its_server_goes_where_its_attributes_say() -> None:
    traces = Traces()
    traces.request("t").client("postgres", "query", 1, 9)
    assert hops(traces) == ["gateway.POST /buy->postgres.POST /query http"]


def test_a_leaf_of_the_default_kind_that_names_protocol_and_peer_is_a_call() -> None:
    traces = Traces()
    request = traces.request("t")
    said = {"db.system": "postgresql", "server.address": "orders-db"}
    step = request.internal("load", 1, 50, said)
    step.internal("SELECT", 2, 9, said)
    step.internal("compute", 10, 20)
    assert hops(traces) == ["gateway.POST /buy->orders-db.SELECT postgresql"]


def test_a_client_that_names_nobody_calls_the_unknown() -> None:
    traces = Traces()
    request = traces.request("t")
    traces.span("t", request, "gateway", "ask", 1, 9, Kind.CLIENT)
    assert hops(traces) == ["gateway.POST /buy->unknown.ask None"]
    assert traces.analysed().total_inter_service_calls == 0


def test_a_server_below_another_services_span_is_a_hop_without_a_client() -> None:
    traces = Traces()
    step = traces.request("t").internal("step", 1, 50)
    traces.span("t", step, "order", "create", 2, 9, Kind.SERVER)
    found, calls = pair(traces.table())
    assert hops(traces) == ["gateway.POST /buy->order.create None"]
    assert (found.client.tolist(), calls.duration.tolist()) == ([-1], [7 * MS])


def test_without_kinds_a_change_of_service_is_a_hop() -> None:
    traces = Traces()
    root = traces.span("t", None, "web", "page", 0, 100)
    asks = traces.span("t", root, "web", "ask", 1, 50)
    serves = traces.span("t", asks, "shop", "answer", 2, 49)
    traces.span("t", serves, "shop", "compute", 3, 40)
    # Two services below one span: it is no client end of either.
    both = traces.span("t", root, "web", "both", 60, 90)
    traces.span("t", both, "shop", "one", 61, 70)
    traces.span("t", both, "mail", "two", 71, 80)
    assert sorted(hops(traces)) == [
        "web.page->mail.two None",
        "web.page->shop.answer None",
        "web.page->shop.one None",
    ]


def attempts(*calls: tuple[int, float, float, bool], key: str = "k") -> Traces:
    """(attempt, start, end, failed) of one edge of one request."""
    traces = Traces()
    request = traces.request("t")
    for attempt, start, end, error in calls:
        request.call(
            "order",
            "create",
            start,
            end,
            error=error,
            said={"http.request.resend_count": attempt, "hopbench.key": key},
        )
    return traces


@pytest.mark.parametrize(
    ("case", "calls", "logical", "failed"),
    [
        ("once", [(0, 1, 3, False)], [(1, 3, 1)], 0),
        ("twice", [(0, 1, 3, False), (0, 4, 6, False)], [(1, 3, 1), (4, 6, 1)], 0),
        ("a retry", [(0, 1, 3, True), (1, 5, 8, False)], [(1, 8, 2)], 0),
        ("all fail", [(0, 1, 3, True), (1, 5, 8, True), (2, 9, 10, True)], [(1, 10, 3)], 1),
        (
            "two calls, the second retried",
            [(0, 1, 3, False), (0, 4, 6, True), (1, 7, 9, False)],
            [(1, 3, 1), (4, 9, 2)],
            0,
        ),
        (
            "a hedge: the second attempt wins, the first is cancelled",
            [(0, 1, 9, True), (1, 4, 8.5, False)],
            [(1, 8.5, 2)],
            0,
        ),
        (
            "a hedge: the first attempt wins after all",
            [(0, 1, 6, False), (1, 4, 6, True)],
            [(1, 6, 2)],
            0,
        ),
        (
            "in parallel: the failed one is retried",
            [(0, 1, 3, True), (0, 1.5, 9, False), (1, 4, 5, False)],
            [(1, 5, 2), (1.5, 9, 1)],
            0,
        ),
        (
            "hedges in parallel: each loser is cancelled when its rival wins",
            [
                (0, 1.0, 7, True),
                (0, 1.1, 4, False),
                (0, 1.2, 9, True),
                (1, 5.0, 6.9, False),
                (1, 5.1, 8.9, False),
            ],
            [(1, 6.9, 2), (1.1, 4, 1), (1.2, 8.9, 2)],
            0,
        ),
    ],
)
def test_attempts_are_gathered_into_calls(
    case: str,
    calls: list[tuple[int, float, float, bool]],
    logical: list[tuple[float, float, int]],
    failed: int,
) -> None:
    table = attempts(*calls).table()
    _, found = pair(table)
    origin = int(table.start[0])
    told = [
        ((int(start) - origin) / MS, (int(end) - origin) / MS, int(n))
        for start, end, n in zip(found.start, found.end, found.attempts, strict=True)
    ]
    assert sorted(told) == logical
    assert int(found.failed.sum()) == failed


def test_an_attempt_whose_predecessor_does_not_tell_that_it_failed_is_no_call_of_its_own() -> None:
    _, found = pair(attempts((0, 1, 3, False), (1, 5, 8, False)).table())
    assert found.attempts.tolist() == [2]


def test_20_000_calls_of_one_context_each_retried_are_gathered() -> None:
    calls = 20_000
    made = Traces()
    request = made.request("t", end=10 * calls)
    for i in range(calls):
        request.client("order", "create", 10 * i, 10 * i + 3, error=i % 2 == 0)
        if i % 2 == 0:
            again = {"hopbench.attempt": 1}
            request.client("order", "create", 10 * i + 4, 10 * i + 6, said=again)
    _, found = pair(made.table())
    assert len(found) == calls
    assert found.attempts.tolist() == [2, 1] * (calls // 2)


@pytest.mark.parametrize(
    ("case", "whole", "whole_elsewhere"),
    [
        ("a call", True, True),
        ("a client alone", False, True),
        ("a failed client alone", True, True),
        ("a message", True, True),
        ("a message that nobody read", False, True),
        ("an orphan", False, False),
    ],
)
def test_a_complete_trace_has_every_parent_and_both_ends(
    case: str, whole: bool, whole_elsewhere: bool
) -> None:
    traces = Traces()
    request = traces.request("t")
    match case:
        case "a call":
            request.call("order", "create", 1, 9)
        case "a client alone":
            request.client("order", "create", 1, 9)
        case "a failed client alone":
            request.client("order", "create", 1, 9, error=True)
        case "a message":
            request.publish("stock", "placed", 1, 2, (3, 4), link_only=True)
        case "a message that nobody read":
            request.publish("stock", "placed", 1, 2, None)
        case _:
            traces.span("t", "gone", "order", "create", 1, 9, Kind.SERVER)
    table = traces.table()
    found, _ = pair(table)
    assert bool(complete_traces(table, found, both_ends=True)[0]) is whole
    assert bool(complete_traces(table, found, both_ends=False)[0]) is whole_elsewhere
