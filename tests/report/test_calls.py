from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from analysis.arrays.quantiles import quantiles
from analysis.report.calls import Node, SlowOne, call_tree, carrier, edge_views, slow_one
from analysis.rows.edges import ReplicaRow
from tests.report import build


def drawn(node: Node) -> object:
    return {f"{child.service}.{child.operation}": drawn(child) for child in node.children}


def test_an_edge_that_two_operations_use_is_drawn_below_each_with_its_own_count() -> None:
    rows = [
        build.edge("a.x", "b.only-x"),
        build.edge("a.x", "b.shared", calls=0.5),
        build.edge("a.y", "b.shared", calls=2.0),
        build.edge("a.y", "b.only-y"),
    ]
    roots = call_tree(edge_views(rows, traced=1), {"a.x": 0.5, "a.y": 0.5})
    assert {root.operation: drawn(root) for root in roots} == {
        "x": {"b.only-x": {}, "b.shared": {}},
        "y": {"b.only-y": {}, "b.shared": {}},
    }
    assert [root.children[1].times for root in roots] == [1.0, 4.0]


def test_an_edge_is_named_with_the_operation_that_calls_where_several_do() -> None:
    edges = [
        build.edge("a.x", "b.z", calls=2.0),
        build.edge("a.y", "b.z", calls=1.0),
        build.edge("a.y", "b.w", calls=1.0),
    ]
    assert [row.name for row in edge_views(edges, traced=1)] == [
        "a.x → b.z",
        "a.y → b.z",
        "a → b.w",
    ]


def test_a_round_in_which_an_edge_was_not_used_counts_as_none() -> None:
    (row,) = edge_views([build.edge("a.x", "b.z", calls=1.0)], traced=2)
    assert row.calls_per_request == 0.5


@pytest.mark.parametrize(
    ("protocol", "broker", "shown"),
    [
        ("kafka", "embedded", "kafka (embedded broker)"),
        ("kafka", "kafka", "kafka (real broker)"),
        ("kafka", "memory", "kafka (simulated broker)"),
        ("kafka", None, "kafka"),
        ("http", "kafka", "http"),
    ],
)
def test_figures_of_kafka_say_which_kind_of_broker_they_are_of(
    protocol: str, broker: str | None, shown: str
) -> None:
    assert carrier(protocol, broker) == shown


def replicas(*p50: float | None, server: float = 1.0) -> tuple[ReplicaRow, ...]:
    """By number; at the callee each takes ``server`` times as long."""
    return tuple(
        ReplicaRow(
            f"b/{n}", 10, build.quantiles(of), build.quantiles(None if of is None else of * server)
        )
        for n, of in enumerate(p50)
    )


@pytest.mark.parametrize(
    ("p50", "slow"),
    [
        ((), None),
        ((2.0, 5.9), None),
        ((2.0, 6.0), ("b/1", 6.0, 2.0)),
        ((22.0, 2.0, 3.0), ("b/0", 22.0, 2.5)),
        ((22.0, 2.0, 2.0, 2.0, 22.0), None),
        ((2.0, None, 22.0), ("b/2", 22.0, 2.0)),
        ((2.0, None), None),
        ((0.0, 0.0), None),
    ],
)
def test_the_one_replica_that_takes_three_times_as_long_is_the_slow_one(
    p50: tuple[float | None, ...], slow: tuple[str, float, float] | None
) -> None:
    edge = build.edge("a.x", "b.z", replicas=replicas(*p50))
    assert slow_one([edge]) == (slow and SlowOne(*slow))


def test_a_replica_is_slow_over_all_rounds() -> None:
    rounds = [build.edge("a.x", "b.z", replicas=replicas(2.0, p50)) for p50 in (2.0, 9.0, 2.2)]
    assert slow_one(rounds) is None
    assert slow_one(rounds[1:2]) is not None


def test_who_is_slow_with_messages_is_told_by_what_they_take_to_handle() -> None:
    rows = (
        *replicas(2.0, 2.0, server=5.0)[:1],
        *replicas(2.0, 2.0, server=50.0)[1:],
    )
    edge = build.edge("a.x", "b.z", replicas=rows, tax_ms=quantiles(np.zeros(0)))
    assert slow_one([edge]) == SlowOne("b/1", 100.0, 10.0)


def test_the_slow_replica_is_named_in_every_form() -> None:
    edge = build.edge("gateway.buy", "b.z", replicas=replicas(2.0, 2.5, 22.0))
    rounds = [build.trial("baseline", 1, [edge])]
    shop = replace(build.shop(), trials=tuple(rounds))
    for shown in (build.page, build.marked_down, build.printed):
        assert "b/2 is the slow one: P50 22.0 ms, the others 2.25 ms" in shown(shop)
