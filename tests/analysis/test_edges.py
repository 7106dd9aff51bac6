from __future__ import annotations

from dataclasses import replace

import pytest

from analysis.arrays.quantiles import Quantiles
from analysis.rows.edges import EdgeRow
from services.scenario.facts import EMPTY
from tests.analysis.build import Traces


def rows(made: Traces) -> dict[str, EdgeRow]:
    return {f"{e.caller}->{e.callee}.{e.operation}": e for e in made.analysed().edges}


def test_an_edge_tells_calls_times_tax_and_bytes() -> None:
    made = Traces()
    for t in range(6):
        request = made.request(f"t{t}")
        request.call(
            "order",
            "create",
            1,
            11,
            tax=2,
            said={"http.request.body.size": 100 + t, "http.response.body.size": 7},
        )
    edge = rows(made)["gateway->order.POST /create"]
    assert edge.caller_operation == "POST /buy"
    assert (edge.protocol, edge.calls, edge.calls_per_request) == ("http", 6, 1.0)
    assert (edge.errors, edge.retries, edge.queue_ms) == (0, 0, None)
    middle = {name: getattr(edge, name).p50 for name in ("client_ms", "server_ms", "tax_ms")}
    assert middle == {"client_ms": 10.0, "server_ms": 6.0, "tax_ms": 4.0}
    assert (edge.request_bytes.p50, edge.request_bytes.max) == (102.0, 105.0)
    assert edge.response_bytes.p50 == 7.0


def test_a_batch_is_one_call_and_a_retry_none() -> None:
    made = Traces()
    for t in range(4):
        request = made.request(f"t{t}")
        request.call("stock", "reserve", 1, 5, error=True, said={"hopbench.items": 20})
        request.call("stock", "reserve", 6, 9, said={"http.request.resend_count": 1})
    edge = rows(made)["gateway->stock.POST /reserve"]
    assert (edge.calls, edge.retries, edge.errors) == (4, 4, 0)
    assert edge.calls_per_request == 1.0
    assert edge.client_ms.max == 8.0
    assert edge.client_ms.n == 4
    assert edge.server_ms.n == 8


def test_a_call_is_transport_queue_and_handling() -> None:
    made = Traces()
    for t in range(6):
        made.request(f"t{t}").call("stock", "get", 1, 11, tax=1, queue=5)
    edge = rows(made)["gateway->stock.POST /get"]
    assert edge.queue_ms is not None
    middle = (edge.client_ms.p50, edge.tax_ms.p50, edge.queue_ms.p50, edge.server_ms.p50)
    assert middle == (10.0, 2.0, 5.0, 3.0)


def test_what_says_nothing_of_a_queue_has_handling_alone() -> None:
    made = Traces()
    for t in range(6):
        made.request(f"t{t}").call("stock", "get", 1, 11, tax=1)
    edge = rows(made)["gateway->stock.POST /get"]
    assert edge.queue_ms is None
    assert edge.server_ms.p50 == 8.0


def test_who_gave_up_in_the_queue_was_not_handled() -> None:
    made = Traces()
    for t in range(6):
        request = made.request(f"t{t}")
        request.call("stock", "get", 1, 11, tax=1, queue=5)
        request.call("stock", "get", 20, 30, tax=0, queue=9.99, error=True)
    edge = rows(made)["gateway->stock.POST /get"]
    assert edge.queue_ms is not None
    assert (edge.queue_ms.n, edge.server_ms.n, edge.server_ms.max) == (12, 6, 3.0)


def test_a_message_waits_in_kafka_and_then_for_a_worker() -> None:
    made = Traces()
    for t in range(6):
        made.request(f"t{t}").publish("stock", "placed", 1, 3, (10, 20), queue=6)
    edge = rows(made)["gateway->stock.stock.placed"]
    assert edge.queue_ms is not None
    assert (edge.queue_ms.p50, edge.server_ms.p50) == (13.0, 4.0)


def test_a_service_tells_queue_handling_and_what_it_did_by_itself() -> None:
    made = Traces()
    for t in range(6):
        request = made.request(f"t{t}")
        served = request.call("stock", "get", 1, 21, tax=0, queue=8)
        served.call("shelf", "look", 10, 15, tax=0)
    found = {row.service: row for row in made.analysed().services}
    stock, shelf = found["stock"], found["shelf"]
    assert stock.queue_ms is not None
    assert (stock.queue_ms.p50, stock.server_ms.p50, stock.self_ms.max) == (8.0, 12.0, 7.0)
    assert shelf.queue_ms is None


def test_a_message_waits_in_a_queue_and_has_no_tax() -> None:
    made = Traces()
    for t in range(6):
        made.request(f"t{t}").publish("stock", "placed", 1, 3, (10, 20), link_only=t % 2 == 0)
    edge = rows(made)["gateway->stock.stock.placed"]
    assert edge.queue_ms is not None
    assert edge.queue_ms.p50 == 7.0
    assert edge.tax_ms.n == 0
    assert (edge.client_ms.p50, edge.server_ms.p50) == (2.0, 10.0)


def test_calls_are_divided_by_the_traces_that_were_judged() -> None:
    made = Traces()
    made.request("t").call("order", "create", 1, 9)
    for t in range(3):
        made.request(f"idle{t}")
    assert rows(made)["gateway->order.POST /create"].calls_per_request == 0.25


def test_an_edge_that_several_operations_use_is_a_row_for_each() -> None:
    made = Traces()
    made.request("a").call("order", "create", 1, 9)
    made.request("b", operation="sell").call("order", "create", 1, 9)
    made.request("c", operation="sell").call("order", "create", 1, 9)
    found = [(edge.caller_operation, edge.calls) for edge in made.analysed().edges]
    assert found == [("POST /sell", 2), ("POST /buy", 1)]


def test_an_attempt_beside_one_under_way_is_a_hedge_and_no_retry() -> None:
    made = Traces()
    for t in range(8):
        request = made.request(f"t{t}")
        request.call("order", "create", 1, 40, error=True)
        request.call("order", "create", 10, 40, said={"hopbench.attempt": 1})
        request.call("stock", "take", 50, 55, error=True)
        request.call("stock", "take", 56, 60, said={"hopbench.attempt": 1})
    found = {edge.callee: (edge.calls, edge.retries, edge.hedges) for edge in made.analysed().edges}
    assert found == {"order": (8, 0, 8), "stock": (8, 8, 0)}
    assert [finding.where.callee for finding in made.found("retry")] == ["stock"]


def test_traffic_counts_calls_between_services_alone() -> None:
    made = Traces()
    request = made.request("t")
    request.call("order", "create", 1, 9).call("order", "audit", 2, 8)
    request.call("order", "create", 10, 19)
    request.publish("mail", "sent", 20, 21, (30, 31))
    analysis = made.analysed()
    assert (analysis.total_inter_service_calls, analysis.unique_service_pairs) == (3, 2)


def test_shares_of_the_path_add_up_to_one_for_each_root() -> None:
    made = Traces()
    for t in range(6):
        request = made.request(f"t{t}", end=100)
        request.call("order", "create", 10, 60, tax=5)
        request.publish("stock", "placed", 70, 71, (80, 120))
    path = made.analysed().critical_path
    shares: dict[str, float] = {}
    for row in path:
        shares[row.root] = shares.get(row.root, 0.0) + row.share
    assert shares == pytest.approx({"gateway.POST /buy": 1.0, "stock.stock.placed": 1.0})
    served = next(row for row in path if row.service == "order")
    assert served.share == pytest.approx(0.4)
    assert served.self_ms.p50 == 40.0


def test_a_root_whose_path_never_touches_an_operation_counts_as_zero() -> None:
    made = Traces()
    for t in range(8):
        request = made.request(f"t{t}")
        if t < 2:
            request.call("order", "create", 10, 60, tax=0)
    served = next(row for row in made.analysed().critical_path if row.service == "order")
    assert served.self_ms == Quantiles(n=8, p50=0.0, p90=None, p95=None, p99=None, max=50.0)


def test_about_a_scenario_waiting_on_the_wire_is_its_callers() -> None:
    made = Traces()
    for t in range(6):
        fan = made.request(f"t{t}", end=100).internal("fanout.parallel", 5, 65)
        fan.call("order", "create", 10, 60, tax=5)
    known = replace(EMPTY, known=True)
    path = made.analysed(facts=known).critical_path
    assert {row.service: row.share for row in path} == pytest.approx({"gateway": 0.6, "order": 0.4})
    on_wire = {row.service: row.wire_share for row in path}
    assert on_wire == pytest.approx({"gateway": 0.1, "order": 0.0})


def test_own_time_is_duration_minus_the_union_of_children() -> None:
    made = Traces()
    for t in range(6):
        request = made.request(f"t{t}", end=100)
        request.call("a", "get", 10, 60)
        request.call("b", "get", 40, 80)
        request.publish("mail", "sent", 85, 90, (86, 99))
    services = {row.service: row for row in made.analysed().services}
    assert services["gateway"].self_ms.max == 25.0
    assert (services["gateway"].requests, services["mail"].requests) == (6, 6)
    assert services["a"].spans == 6


def replicas(made: Traces) -> dict[str, tuple[int, float | None, float | None]]:
    """Calls, client and server P50 of the one edge, by instance in their order."""
    (edge,) = made.analysed().edges
    return {r.instance: (r.calls, r.client_ms.p50, r.server_ms.p50) for r in edge.replicas}


def test_an_edges_figures_are_told_for_each_replica_that_answers() -> None:
    made = Traces()
    for t in range(6):
        request = made.request(f"t{t}")
        request.call("stock", "get", 1, 31, tax=1, instance="stock/1")
        request.call("stock", "get", 32, 36, tax=1, instance="stock/0")
        request.call("stock", "get", 40, 44, tax=1, instance="stock/0")
    told = replicas(made)
    assert told == {"stock/0": (12, 4.0, 2.0), "stock/1": (6, 30.0, 28.0)}
    assert list(told) == ["stock/0", "stock/1"]


@pytest.mark.parametrize("instance", ["stock/0", None])
def test_what_one_instance_answers_or_nobody_says_who_is_not_told_apart(
    instance: str | None,
) -> None:
    made = Traces()
    for t in range(6):
        made.request(f"t{t}").call("stock", "get", 1, 9, instance=instance)
    assert replicas(made) == {}


def test_a_replicas_calls_are_the_attempts_that_it_answered() -> None:
    """The first fails at one replica, the second succeeds at the other; one is never answered."""
    made = Traces()
    for t in range(6):
        request = made.request(f"t{t}")
        request.call("stock", "get", 1, 5, error=True, instance="stock/0")
        again = {"http.request.resend_count": 1}
        request.call("stock", "get", 6, 12, instance="stock/1", said=again)
        request.client("stock", "get", 20, 90, error=True)
    assert replicas(made) == {"stock/0": (6, 4.0, 3.0), "stock/1": (6, 6.0, 5.0)}
