from __future__ import annotations

import pytest

from analysis.report.calls import Node, call_tree, carrier, edge_views
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
