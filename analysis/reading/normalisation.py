"""From what was written down to a span table, with every repair counted.

In this order: exact duplicates are dropped; ids that a client and its server share (Zipkin) are
split; parents are resolved within their trace; cycles of parents are broken; steps at one end of a
hop are marked (steps.py); clock skew is shifted where asked. Times stay as recorded throughout.

The generator of this project makes no span and sends the last 16 hex digits of the trace id as its
parent id: a span whose absent parent has that id is a root, not an orphan.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from analysis.arrays import I32, NONE, U16, Bool
from analysis.arrays.codes import matched
from analysis.arrays.forest import Forest, cyclic
from analysis.arrays.grouping import distinct
from analysis.reading.names import Columns, Names, Said
from analysis.reading.recorder import Recorder, raw
from analysis.reading.skew import shifts
from analysis.reading.steps import mark_steps
from analysis.spans.table import Absent, Flag, Kind, Links, SpanTable, mark

REPAIRS: Final = ("duplicate", "same_id", "shared", "orphan", "cycle", "shifted", "outside")


@dataclass(frozen=True, slots=True)
class Normalised:
    spans: SpanTable
    repairs: dict[str, int]
    """By :data:`REPAIRS`. ``outside`` (of the parent's window) is the critical path's to count."""


@dataclass(frozen=True, slots=True)
class _Tree:
    parent: I32
    flags: U16


def normalise(recorder: Recorder, *, skew: bool = False) -> Normalised:
    """The span table of everything recorded. ``skew`` shifts child processes whose clock is off."""
    repairs = dict.fromkeys(REPAIRS, 0)
    columns = _without_duplicates(_taken(recorder), repairs)
    # Every row of the recorder in terms of the table; -1 for the dropped.
    table_row = np.full(len(recorder), NONE, np.int32)
    table_row[columns.row] = np.arange(len(columns.row), dtype=np.int32)
    said = Said(recorder, columns, table_row)
    tree = _resolved(recorder, columns, said.service, repairs)
    names = Names(recorder, columns, said)
    names.inherit(tree.parent)
    flags = tree.flags
    links = _links(recorder, columns, table_row)
    mark_steps(columns, names, said, tree.parent, flags, links)
    repairs["orphan"] = int((flags & np.uint16(Flag.ORPHAN) != 0).sum())
    forest = Forest(tree.parent)
    mark(flags, names.failed, Flag.ERROR)
    mark(flags, _asynchronous(columns, tree.parent, said.service), Flag.ASYNC)
    lo, hi = columns.start.copy(), columns.end.copy()
    if skew:
        by = shifts(forest, columns.start, columns.end, said.place)
        moved = by != 0
        lo[moved] += by[moved]
        hi[moved] += by[moved]
        mark(flags, moved, Flag.SKEW_ADJUSTED)
        repairs["shifted"] = int(moved.sum())
    orphans = np.flatnonzero(flags & np.uint16(Flag.ORPHAN)).astype(np.int32)
    spelled = recorder.ids.spelled
    trace, trace_ids = _used(columns.trace, recorder.traces.spelled)
    nothing = np.full(len(trace), NONE, np.int32)
    spans = SpanTable(
        trace=trace,
        span=columns.span,
        parent=tree.parent,
        root=forest.root,
        depth=forest.depth,
        start=columns.start,
        end=columns.end,
        lo=lo,
        hi=hi,
        kind=columns.kind,
        status=columns.status,
        service=said.service,
        instance=said.instance,
        label=columns.name,
        operation=names.operation,
        template=names.template,
        peer=names.peer,
        protocol=names.protocol,
        host=said.host,
        variant=nothing,
        phase=nothing,
        flags=flags,
        names=tuple(recorder.names),
        trace_ids=trace_ids,
        span_ids=pl.Series("", spelled, dtype=pl.String),
        messages=names.messages,
        links=links,
        attributes=said.table(),
        absent=Absent(orphans, columns.parent[orphans]),
    )
    return Normalised(spans, repairs)


def _taken(recorder: Recorder) -> Columns:
    def taken(name: str, dtype: type[np.generic]) -> NDArray[Any]:
        return np.array(getattr(recorder, name)).astype(dtype)

    return Columns(
        trace=taken("trace", np.int32),
        span=taken("span", np.int32),
        parent=taken("parent", np.int32),
        name=taken("name", np.int32),
        kind=taken("kind", np.uint8),
        status=taken("status", np.uint8),
        start=taken("start", np.int64),
        end=taken("end", np.int64),
        resource=taken("resource", np.int32),
        follows=taken("follows", np.bool_),
        shared=taken("shared", np.bool_),
        row=np.arange(len(recorder)),
    )


def _only(columns: Columns, keep: Bool) -> Columns:
    return Columns(**{name: getattr(columns, name)[keep] for name in Columns.__dataclass_fields__})


def _without_duplicates(columns: Columns, repairs: dict[str, int]) -> Columns:
    """Equal in id, times, name, kind and parent: the same span, exported twice."""
    identity = distinct(columns.trace, columns.span)
    if identity.count == len(columns.trace):
        return columns
    same = distinct(
        identity.of, columns.start, columns.end, columns.kind, columns.name, columns.parent
    )
    keep = np.zeros(len(columns.trace), np.bool_)
    keep[same.first] = True
    repairs["duplicate"] = int((~keep).sum())
    return _only(columns, keep)


def _resolved(recorder: Recorder, columns: Columns, service: I32, repairs: dict[str, int]) -> _Tree:
    rows = len(columns.trace)
    flags = np.zeros(rows, np.uint16)
    halves = _split(recorder, columns, repairs)
    # After the split, what still shares an id is found by the earliest of them.
    order = np.lexsort((columns.row, columns.end, columns.start))
    identity = distinct(columns.trace, columns.span)
    first = np.full(identity.count, NONE, np.int32)
    first[identity.of[order[::-1]]] = order[::-1]
    again = np.ones(rows, np.bool_)
    again[first] = False
    mark(flags, again, Flag.DUPLICATE)
    repairs["same_id"] = int(again.sum())

    parent = matched(columns.trace, columns.span, first, columns.trace, columns.parent)
    _under_servers(parent, service, halves)
    lost = (columns.parent >= 0) & (parent < 0)
    lost[[server for _, server in halves]] = False
    generated = _generated(recorder, columns, np.flatnonzero(lost))
    orphan = lost & ~generated
    mark(flags, orphan, Flag.ORPHAN)
    mark(flags, columns.follows & (parent >= 0), Flag.FOLLOWS_FROM)
    repairs["cycle"] = _break_cycles(recorder, columns, parent)
    return _Tree(parent, flags)


def _under_servers(parent: I32, service: I32, halves: list[tuple[int, int]]) -> None:
    """What the server half did names the id that it shares with the client: move it below."""
    server_of: dict[tuple[int, int], int] = {}
    for client, server in halves:
        server_of.setdefault((client, int(service[server])), server)
    below = np.flatnonzero(np.isin(parent, [client for client, _ in halves]))
    for row, client, of in zip(
        below.tolist(), parent[below].tolist(), service[below].tolist(), strict=True
    ):
        parent[row] = server_of.get((client, of), client)
    for client, server in halves:
        parent[server] = client


def _split(recorder: Recorder, columns: Columns, repairs: dict[str, int]) -> list[tuple[int, int]]:
    """Give the server half of a shared id an id of its own: rows of (client, server)."""
    shared = np.flatnonzero(columns.shared)
    if len(shared) == 0:
        return []
    clients = {
        (int(columns.trace[row]), int(columns.span[row])): row
        for row in np.flatnonzero(~columns.shared).tolist()
    }
    halves = []
    for row in shared.tolist():
        client = clients.get((int(columns.trace[row]), int(columns.span[row])))
        if client is None:
            continue
        code = int(columns.span[row])
        columns.parent[row] = code
        columns.span[row] = recorder.ids[f"{recorder.ids.spelled[code]}/server"]
        halves.append((client, row))
    repairs["shared"] = len(halves)
    return halves


def _generated(recorder: Recorder, columns: Columns, lost: NDArray[np.intp]) -> Bool:
    """Whether the absent parent is the generator's: the lower half of the trace id."""
    generated = np.zeros(len(columns.trace), np.bool_)
    pairs = distinct(columns.trace[lost], columns.parent[lost])
    traces, ids = recorder.traces.spelled, recorder.ids.spelled
    is_generator = np.zeros(pairs.count, np.bool_)
    for number, row in enumerate(lost[pairs.first].tolist()):
        trace, parent = raw(traces[columns.trace[row]]), raw(ids[columns.parent[row]])
        is_generator[number] = (
            isinstance(trace, bytes) and isinstance(parent, bytes) and trace[-8:] == parent
        )
    generated[lost] = is_generator[pairs.of]
    return generated


def _break_cycles(recorder: Recorder, columns: Columns, parent: I32) -> int:
    """Cut each cycle above the span that starts first; ids settle ties. Returns how many."""
    todo = cyclic(parent)
    broken = 0
    visited: set[int] = set()
    for row in np.flatnonzero(todo).tolist():
        way: list[int] = []
        at = row
        while at not in visited:
            visited.add(at)
            way.append(at)
            at = int(parent[at])
            if at < 0:
                break
        if at in way:
            cycle = way[way.index(at) :]
            top = min(
                cycle,
                key=lambda r: (int(columns.start[r]), recorder.ids.spelled[columns.span[r]]),
            )
            parent[top] = NONE
            broken += 1
    return broken


def _asynchronous(columns: Columns, parent: I32, service: I32) -> Bool:
    """A consumer that somebody else's span, or a producer, led to; and what FOLLOWS_FROM."""
    below = parent >= 0
    above = np.where(below, parent, 0)
    consumes = columns.kind == Kind.CONSUMER
    if len(parent):
        consumes &= (columns.kind[above] == Kind.PRODUCER) | (service[above] != service)
    found: Bool = below & (consumes | columns.follows)
    return found


def _links(recorder: Recorder, columns: Columns, table_row: I32) -> Links:
    if not recorder.links:
        return Links.empty()
    row, trace, span = (np.array(column, np.int32) for column in zip(*recorder.links, strict=True))
    keep = table_row[row] >= 0
    row, trace, span = table_row[row[keep]], trace[keep], span[keep]
    target = matched(columns.trace, columns.span, np.arange(len(columns.trace)), trace, span)
    # A link into a trace that was not read keeps its span id and loses its trace.
    present = np.full(len(recorder.traces.spelled), NONE, np.int32)
    used = np.unique(columns.trace)
    present[used] = np.arange(len(used), dtype=np.int32)
    order = np.argsort(row, kind="stable")
    return Links(row[order], target[order], present[trace][order], span[order])


def _used(trace: I32, spelled: Sequence[str]) -> tuple[I32, pl.Series]:
    """Trace codes without gaps, and their ids."""
    used = np.unique(trace)
    code = np.full(len(spelled), NONE, np.int32)
    code[used] = np.arange(len(used), dtype=np.int32)
    ids = pl.Series("", spelled, dtype=pl.String).gather(used.astype(np.int64))
    return code[trace], ids
