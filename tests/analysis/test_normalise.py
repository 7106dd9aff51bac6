from __future__ import annotations

import numpy as np
import pytest

from analysis.spans.table import Flag, Kind
from analysis.traces.critical_path import PRESETS, critical_path
from tests.analysis.build import EPOCH, MS, Traces


def test_what_was_exported_twice_is_there_once() -> None:
    traces = Traces()
    for _ in range(3):
        traces.span("t", None, "a", "n", 0, 9, id="x")
    found = traces.normalised()
    assert len(found.spans) == 1
    assert found.repairs["duplicate"] == 2


def test_spans_that_share_an_id_otherwise_are_kept_and_marked() -> None:
    traces = Traces()
    traces.span("t", None, "a", "first", 0, 9, id="x")
    traces.span("t", None, "a", "second", 1, 9, id="x")
    traces.span("t", "x", "a", "child", 2, 3)
    found = traces.normalised()
    assert found.spans.parent.tolist() == [-1, -1, 0]
    assert found.spans.has(Flag.DUPLICATE).tolist() == [False, True, False]
    assert found.repairs["same_id"] == 1


def test_a_parent_is_looked_for_in_its_own_trace() -> None:
    traces = Traces()
    traces.span("one", None, "a", "n", 0, 9, id="x")
    traces.span("two", "x", "a", "n", 0, 9)
    found = traces.normalised()
    assert found.spans.parent.tolist() == [-1, -1]
    assert found.spans.has(Flag.ORPHAN).tolist() == [False, True]
    assert found.repairs["orphan"] == 1
    assert [found.spans.span_ids[int(p)] for p in found.spans.absent.span] == ["x"]


@pytest.mark.parametrize(
    ("trace", "parent", "orphan"),
    [
        ("0af7651916cd43dd8448eb211c80319c", "8448eb211c80319c", False),
        ("0AF7651916CD43DD8448EB211C80319C", "8448eb211c80319c", False),
        ("0af7651916cd43dd8448eb211c80319c", "8448eb211c80319d", True),
        ("CvdlGRbNQ92ESOshHIAxnA==", "hEjrIRyAMZw=", False),  # Tempo's spelling of the first
        ("CvdlGRbNQ92ESOshHIAxnA==", "hEjrIRyAMZ0=", True),
    ],
)
def test_below_the_generator_that_made_no_span_is_a_root(
    trace: str, parent: str, orphan: bool
) -> None:
    traces = Traces()
    traces.span(trace, parent, "a", "n", 0, 9)
    assert traces.table().has(Flag.ORPHAN).tolist() == [orphan]


def test_a_cycle_is_cut_above_the_span_that_starts_first() -> None:
    traces = Traces()
    traces.span("t", "c", "a", "n", 3, 9, id="a")
    traces.span("t", "a", "a", "n", 1, 9, id="b")
    traces.span("t", "b", "a", "n", 2, 9, id="c")
    traces.span("t", "a", "a", "n", 4, 5, id="below")
    traces.span("t", "self", "a", "n", 0, 9, id="self")
    found = traces.normalised()
    assert found.repairs["cycle"] == 2
    assert found.spans.parent.tolist() == [2, -1, 1, 0, -1]
    assert found.spans.root.tolist() == [1, 1, 1, 1, 4]
    assert found.spans.depth.tolist() == [2, 0, 1, 3, 0]


def test_times_stay_as_recorded_and_skew_moves_the_window() -> None:
    """The callee's clock is 100 ms ahead; on the path it lies in the middle of its call."""
    traces = Traces()
    request = traces.request("t", end=20)
    client = request.client("order", "create", 5, 15)
    traces.span("t", client, "order", "serve", 106, 114, Kind.SERVER, host="there")
    found = traces.normalised(skew=True)
    table = found.spans
    assert found.repairs["shifted"] == 1
    assert [int(t - EPOCH) // MS for t in (table.start[2], table.lo[2], table.hi[2])] == [
        106,
        6,
        14,
    ]
    path = critical_path(table, PRESETS["reference"])
    assert (path.exclusive // MS).tolist() == [10, 2, 8]
    assert critical_path(traces.table(), PRESETS["reference"]).outside == 1


def test_one_host_has_one_clock() -> None:
    traces = Traces()
    client = traces.request("t", end=20).client("order", "create", 5, 15)
    traces.span("t", client, "order", "serve", 106, 114, Kind.SERVER)
    assert traces.normalised(skew=True).repairs["shifted"] == 0


def test_a_consumer_is_asynchronous_below_a_producer_or_another_service() -> None:
    traces = Traces()
    request = traces.request("t")
    handled = request.publish("stock", "placed", 1, 2, (3, 9))
    traces.span("t", request, "mail", "process", 4, 6, Kind.CONSUMER)
    traces.span("t", handled, "stock", "receive", 4, 6, Kind.CONSUMER)
    assert traces.table().has(Flag.ASYNC).tolist() == [False, False, True, True, False]


def test_a_call_span_tells_what_the_library_below_it_does_not() -> None:
    traces = Traces()
    request = traces.request("t")
    call = request.internal(
        "call.order.create",
        1,
        9,
        {"target.service": "order", "hopbench.attempt": 2, "hopbench.key": "k"},
    )
    call.client("127.0.0.1", "create", 2, 8)
    table = traces.table()
    assert table.name(int(table.peer[2])) == "order"
    assert table.messages.attempt[2] == 2
    assert table.name(int(table.messages.key[2])) == "k"


def test_nothing_read_is_an_empty_table() -> None:
    found = Traces().normalised()
    assert len(found.spans) == 0
    assert not any(found.repairs.values())


def test_a_link_finds_its_span_in_another_trace() -> None:
    traces = Traces()
    traces.request("t").publish("stock", "placed", 1, 2, (3, 9), link_only=True)
    links = traces.table().links
    assert (links.row.tolist(), links.target.tolist()) == ([2], [1])


def test_10_000_spans_below_each_other_have_their_depth() -> None:
    traces = Traces()
    parent = None
    for i in range(10_000):
        parent = traces.span("t", parent, "a", "n", i / 100, 200)
    table = traces.table()
    assert np.array_equal(table.depth, np.arange(10_000))
