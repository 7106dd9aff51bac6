from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.spans.table import Kind, SpanTable
from analysis.traces.critical_path import PRESETS, Preset, critical_path
from tests.analysis.build import MS, Span, Traces, drawn, own_time, plain

REFERENCE, JAEGER, CRISP, ELASTIC = (
    PRESETS[name] for name in ("reference", "jaeger", "crisp", "elastic")
)
Rows = Sequence[tuple[str, str | None, int, int]]

CASES: dict[str, tuple[Rows, dict[str, int]]] = {
    "a span alone": ([("r", None, 0, 9)], {"r": 9}),
    "a child in the middle": ([("r", None, 0, 9), ("a", "r", 2, 5)], {"r": 6, "a": 3}),
    "one after another": (
        [("r", None, 0, 9), ("a", "r", 1, 3), ("b", "r", 4, 8)],
        {"r": 3, "a": 2, "b": 4},
    ),
    "siblings that touch": (
        [("r", None, 0, 9), ("a", "r", 1, 4), ("b", "r", 4, 8)],
        {"r": 2, "a": 3, "b": 4},
    ),
    "in parallel: the one that ends last": (
        [("r", None, 0, 9), ("a", "r", 1, 7), ("b", "r", 2, 8)],
        {"r": 3, "b": 6},
    ),
    "a tie of ends goes to the later start": (
        [("r", None, 0, 9), ("a", "r", 1, 8), ("b", "r", 5, 8), ("c", "r", 2, 4)],
        {"r": 4, "b": 3, "c": 2},
    ),
    "a tie of both goes to the greater id": (
        [("r", None, 0, 9), ("b", "r", 1, 8), ("a", "r", 1, 8)],
        {"r": 2, "b": 7},
    ),
    "a child that outlasts its parent is cut": (
        [("r", None, 0, 9), ("a", "r", 5, 20)],
        {"r": 5, "a": 4},
    ),
    "a child that leaves at both ends is cut at both": (
        [("r", None, 5, 9), ("a", "r", 0, 20)],
        {"r": 0, "a": 4},
    ),
    "a child outside is dropped, and all below it": (
        [("r", None, 0, 9), ("a", "r", 10, 20), ("b", "a", 2, 4)],
        {"r": 9},
    ),
    "a child that only touches from outside is dropped": (
        [("r", None, 0, 9), ("a", "r", 9, 20)],
        {"r": 9},
    ),
    "grandchildren are cut to the whole line": (
        [("r", None, 0, 9), ("a", "r", 2, 30), ("b", "a", 1, 40)],
        {"r": 2, "a": 0, "b": 7},
    ),
    "time 0 is a time": ([("r", None, 0, 9), ("a", "r", 0, 4)], {"r": 5, "a": 4}),
    "a child without length": (
        [("r", None, 0, 9), ("a", "r", 4, 4), ("b", "r", 4, 4)],
        {"r": 9, "a": 0, "b": 0},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_reference_path(case: str) -> None:
    rows, expected = CASES[case]
    assert own_time(plain(rows), REFERENCE) == expected


@pytest.mark.parametrize("case", CASES)
def test_the_order_of_spans_in_the_input_does_not_matter(case: str) -> None:
    rows, expected = CASES[case]
    assert own_time(plain(list(reversed(rows))), REFERENCE) == expected


def test_sections_come_in_time_order_and_touch() -> None:
    rows: Rows = [("r", None, 0, 9), ("a", "r", 1, 3), ("b", "r", 3, 8), ("c", "b", 4, 5)]
    assert drawn(plain(rows), REFERENCE) == [
        ("r", 0, 1),
        ("a", 1, 3),
        ("b", 3, 4),
        ("c", 4, 5),
        ("b", 5, 8),
        ("r", 8, 9),
    ]


PRESET_CASES: list[tuple[str, Preset, Rows, dict[str, int]]] = [
    (
        "jaeger skips a sibling that touches",
        "jaeger",
        [("r", None, 0, 90), ("a", "r", 10, 40), ("b", "r", 40, 80)],
        {"r": 50, "b": 40},
    ),
    (
        "crisp takes one that touches when nothing else is there",
        "crisp",
        [("r", None, 0, 90), ("a", "r", 10, 40), ("b", "r", 40, 80)],
        {"r": 20, "a": 30, "b": 40},
    ),
    (
        "crisp does not when a third starts or ends in between",
        "crisp",
        [("r", None, 0, 90), ("a", "r", 10, 40), ("b", "r", 40, 80), ("c", "r", 20, 40)],
        {"r": 50, "b": 40},
    ),
    (
        "crisp forgives an overlap below 1 %, and the parent pays for it",
        "crisp",
        [("r", None, 0, 1000), ("a", "r", 100, 405), ("b", "r", 400, 800)],
        {"r": 295, "a": 305, "b": 400},
    ),
    (
        "crisp does not forgive 1 %",
        "crisp",
        [("r", None, 0, 1000), ("a", "r", 100, 410), ("b", "r", 400, 800)],
        {"r": 600, "b": 400},
    ),
    (
        "crisp drops a child that leaves at both ends",
        "crisp",
        [("r", None, 100, 200), ("a", "r", 50, 250)],
        {"r": 100},
    ),
    (
        "elastic drops a child that ends after its parent",
        "elastic",
        [("r", None, 0, 90 * MS), ("a", "r", 10 * MS, 95 * MS), ("b", "r", 5 * MS, 9 * MS)],
        {"r": 86 * MS, "b": 4 * MS},
    ),
    (
        "elastic gives a gap below 1 ms to the child before it",
        "elastic",
        [("r", None, 0, 90 * MS), ("a", "r", 10 * MS, 90 * MS - 5)],
        {"r": 10 * MS, "a": 80 * MS},
    ),
]


@pytest.mark.parametrize(
    ("preset", "rows", "expected"),
    [case[1:] for case in PRESET_CASES],
    ids=[c[0] for c in PRESET_CASES],
)
def test_presets_follow_their_tools(preset: Preset, rows: Rows, expected: dict[str, int]) -> None:
    assert own_time(plain(rows), PRESETS[preset]) == expected


def test_a_consumer_has_a_path_of_its_own() -> None:
    traces = Traces()
    request = traces.request("t", end=20)
    handled = request.publish("stock", "placed", 5, 6, (10, 40))
    handled.call("price", "quote", 15, 25)
    table = traces.table()
    path = critical_path(table, REFERENCE)
    lengths = {
        table.span_id(int(row)): int(path.inclusive[row]) // MS
        for row in np.flatnonzero(path.is_root)
    }
    assert lengths == {request.id: 20, handled.id: 30}
    assert int(path.exclusive.sum()) == 50 * MS


def test_what_follows_from_is_waited_for_by_jaeger_alone() -> None:
    traces = Traces()
    request = traces.request("t", end=20)
    traces.span("t", request, "other", "later", 5, 10, Kind.INTERNAL, follows=True)
    table = traces.table()
    waited: dict[Preset, int] = {"reference": 1, "crisp": 1, "jaeger": 2, "elastic": 2}
    for preset, spans in waited.items():
        assert len(own_time(table, PRESETS[preset])) == spans


def test_each_root_of_a_trace_has_its_path() -> None:
    table = plain([("a", None, 0, 5), ("b", None, 2, 9), ("c", "gone", 1, 4)])
    assert own_time(table, REFERENCE) == {"a": 5, "b": 7, "c": 3}


@st.composite
def forests(draw: st.DrawFn) -> SpanTable:
    """Any trees at all: skewed, overflowing, without length, of several roots and kinds."""
    traces = Traces()
    made: list[Span] = []
    for _ in range(draw(st.integers(1, 30))):
        parent = draw(st.sampled_from([None, *made])) if made else None
        start = draw(st.integers(0, 40))
        made.append(
            traces.span(
                "t",
                parent,
                draw(st.sampled_from("ab")),
                "n",
                start / MS,
                (start + draw(st.integers(0, 25))) / MS,
                draw(st.sampled_from(tuple(Kind))),
                follows=draw(st.integers(0, 9)) == 0,
            )
        )
    return traces.table()


@settings(max_examples=100, deadline=None)
@given(forests(), st.sampled_from(tuple(PRESETS)))
def test_sections_partition_every_root_to_the_nanosecond(table: SpanTable, preset: Preset) -> None:
    path = critical_path(table, PRESETS[preset])
    at = path.sections
    for root in np.flatnonzero(path.is_root):
        mine = at.root == root
        start, end = at.start[mine], at.end[mine]
        lo, hi = table.start[root], table.end[root]
        assert (end > start).all()
        if lo == hi:
            assert len(start) == 0
            continue
        assert (start[0], end[-1]) == (lo, hi)
        assert (start[1:] == end[:-1]).all()
        assert path.exclusive[path.root == root].sum() == hi - lo


def naive(table: SpanTable) -> dict[int, int]:
    """Exclusive ns by row, by the definition: span by span, a stack instead of recursion."""
    children: dict[int, list[int]] = {}
    roots = []
    for row in range(len(table)):
        parent = int(table.parent[row])
        asynchronous = bool(table.flags[row] & 8)
        if parent < 0 or (asynchronous and table.kind[row] == Kind.CONSUMER):
            roots.append(row)
        elif not asynchronous:
            children.setdefault(parent, []).append(row)
    own: dict[int, int] = {}
    todo = [(row, int(table.start[row]), int(table.end[row])) for row in roots]
    while todo:
        row, lo, hi = todo.pop()
        inside = []
        for child in children.get(row, []):
            start, end = int(table.start[child]), int(table.end[child])
            a, b = max(start, lo), min(end, hi)
            if a < b or (a == b and start == end):
                inside.append((b, a, table.span_id(child), child))
        own[row] = 0
        t = hi
        for b, a, _, child in sorted(inside, reverse=True):
            if b <= t:
                own[row] += t - b
                t = a
                todo.append((child, a, b))
        own[row] += t - lo
    return own


@settings(max_examples=100, deadline=None)
@given(forests())
def test_the_columns_agree_with_the_definition(table: SpanTable) -> None:
    path = critical_path(table, REFERENCE)
    found = {int(row): int(path.exclusive[row]) for row in np.flatnonzero(path.on_path)}
    assert found == naive(table)


def test_a_chain_of_10_000_is_followed_to_its_end() -> None:
    deep = 10_000
    rows: list[tuple[str, str | None, int, int]] = [
        (f"{i:05d}", f"{i - 1:05d}" if i else None, i, 3 * deep - i) for i in range(deep)
    ]
    path = critical_path(plain(rows), REFERENCE)
    assert path.on_path.all()
    assert path.exclusive[:-1].tolist() == [2] * (deep - 1)
    assert len(path.sections.row) == 2 * deep - 1


@pytest.mark.slow
def test_100_000_children_one_after_another_are_all_on_the_path() -> None:
    wide = 100_000
    rows: list[tuple[str, str | None, int, int]] = [("r", None, 0, 10 * wide)]
    rows += [(f"{i:06d}", "r", 10 * i, 10 * i + 7) for i in range(wide)]
    path = critical_path(plain(rows), REFERENCE)
    assert int(path.exclusive[0]) == 3 * wide
    assert (path.exclusive[1:] == 7).all()
