"""From what was written down to a span table, with every repair counted.

In this order: exact duplicates are dropped; ids that a client and its server share (Zipkin) are
split; parents are resolved within their trace; cycles of parents are broken; clock skew is shifted
where asked. Times stay as recorded throughout.

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

from analysis import conventions as says
from analysis.forest import Forest, cyclic
from analysis.grouping import distinct
from analysis.ids import matched
from analysis.reading import Codes, Recorder
from analysis.skew import shifts
from analysis.spans import (
    NONE,
    Absent,
    Attributes,
    Flag,
    Kind,
    Links,
    Messages,
    SpanTable,
    Status,
    mark,
)

I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
Bool = NDArray[np.bool_]

REPAIRS: Final = ("duplicate", "same_id", "shared", "orphan", "cycle", "shifted", "outside")


@dataclass(frozen=True, slots=True)
class Normalised:
    spans: SpanTable
    repairs: dict[str, int]
    """By :data:`REPAIRS`. ``outside`` (of the parent's window) is the critical path's to count."""


@dataclass(slots=True)
class _Columns:
    """The recorder's columns as arrays, after duplicates are gone."""

    trace: I32
    span: I32
    parent: I32
    name: I32
    kind: NDArray[np.uint8]
    status: NDArray[np.uint8]
    start: I64
    end: I64
    resource: I32
    follows: Bool
    shared: Bool
    row: I64
    """Of the recorder."""


@dataclass(frozen=True, slots=True)
class _Tree:
    parent: I32
    flags: NDArray[np.uint16]


def normalise(recorder: Recorder, *, skew: bool = False) -> Normalised:
    """The span table of everything recorded. ``skew`` shifts child processes whose clock is off."""
    repairs = dict.fromkeys(REPAIRS, 0)
    columns = _without_duplicates(_columns(recorder), repairs)
    # Every row of the recorder in terms of the table; -1 for the dropped.
    table_row = np.full(len(recorder), NONE, np.int32)
    table_row[columns.row] = np.arange(len(columns.row), dtype=np.int32)
    said = _Attributes(recorder, columns, table_row)
    tree = _resolved(recorder, columns, said.service, repairs)
    names = _Names(recorder, columns, said)
    names.inherit(tree.parent)
    forest = Forest(tree.parent)
    flags = tree.flags
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
        links=_links(recorder, columns, table_row),
        attributes=said.table(),
        absent=Absent(orphans, columns.parent[orphans]),
    )
    return Normalised(spans, repairs)


def _columns(recorder: Recorder) -> _Columns:
    def taken(name: str, dtype: type[np.generic]) -> NDArray[Any]:
        return np.array(getattr(recorder, name)).astype(dtype)

    return _Columns(
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


def _only(columns: _Columns, keep: Bool) -> _Columns:
    return _Columns(
        **{name: getattr(columns, name)[keep] for name in _Columns.__dataclass_fields__}
    )


def _without_duplicates(columns: _Columns, repairs: dict[str, int]) -> _Columns:
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


def _resolved(
    recorder: Recorder, columns: _Columns, service: I32, repairs: dict[str, int]
) -> _Tree:
    rows = len(columns.trace)
    flags = np.zeros(rows, np.uint16)
    halves = _split(recorder, columns, repairs)
    # After the split, what still shares an id is found by the earliest of them.
    order = np.lexsort((columns.row, columns.start))
    identity = distinct(columns.trace, columns.span)
    first = np.full(identity.count, NONE, np.int32)
    first[identity.of[order[::-1]]] = order[::-1]
    again = np.ones(rows, np.bool_)
    again[first] = False
    mark(flags, again, Flag.DUPLICATE)
    repairs["same_id"] = int(again.sum())

    parent = matched(columns.trace, columns.span, first, columns.trace, columns.parent)
    for client, server in halves:
        # What the server half did names the id it shares with the client.
        below = np.flatnonzero((parent == client) & (service == service[server]))
        parent[below[below != server]] = server
        parent[server] = client

    lost = (columns.parent >= 0) & (parent < 0)
    lost[[server for _, server in halves]] = False
    generated = _generated(recorder, columns, np.flatnonzero(lost))
    orphan = lost & ~generated
    mark(flags, orphan, Flag.ORPHAN)
    mark(flags, columns.follows & (parent >= 0), Flag.FOLLOWS_FROM)
    repairs["orphan"] = int(orphan.sum())
    repairs["cycle"] = _break_cycles(recorder, columns, parent)
    return _Tree(parent, flags)


def _split(recorder: Recorder, columns: _Columns, repairs: dict[str, int]) -> list[tuple[int, int]]:
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


def _generated(recorder: Recorder, columns: _Columns, lost: NDArray[np.intp]) -> Bool:
    """Whether the absent parent is the generator's: the lower half of the trace id."""
    generated = np.zeros(len(columns.trace), np.bool_)
    pairs = distinct(columns.trace[lost], columns.parent[lost])
    traces, ids = recorder.traces.spelled, recorder.ids.spelled
    is_generator = np.zeros(pairs.count, np.bool_)
    for number, row in enumerate(lost[pairs.first].tolist()):
        trace, parent = traces[columns.trace[row]], ids[columns.parent[row]]
        is_generator[number] = len(parent) == 16 and trace.lower().endswith(parent.lower())
    generated[lost] = is_generator[pairs.of]
    return generated


def _break_cycles(recorder: Recorder, columns: _Columns, parent: I32) -> int:
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


def _asynchronous(columns: _Columns, parent: I32, service: I32) -> Bool:
    """A consumer that somebody else's span, or a producer, led to; and what FOLLOWS_FROM."""
    below = parent >= 0
    above = np.where(below, parent, 0)
    consumes = columns.kind == Kind.CONSUMER
    if len(parent):
        consumes &= (columns.kind[above] == Kind.PRODUCER) | (service[above] != service)
    found: Bool = below & (consumes | columns.follows)
    return found


def _links(recorder: Recorder, columns: _Columns, table_row: I32) -> Links:
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


class _Attributes:
    """Attributes by span, and what resources say."""

    def __init__(self, recorder: Recorder, columns: _Columns, table_row: I32) -> None:
        self._recorder = recorder
        self._columns = columns
        self.rows = len(columns.trace)
        names, values = recorder.names, Codes()
        pair_key = np.array([names[key] for key, _ in recorder.pairs], np.int32)
        pair_value = np.array([values[value] for _, value in recorder.pairs], np.int32)
        row = np.repeat(table_row, np.array(recorder.attribute_count, np.int32))
        pair = np.array(recorder.attribute_pair, np.int32)[row >= 0]
        self.row = row[row >= 0]
        self.key, self.value = pair_key[pair], pair_value[pair]
        self.values = list(values)
        default = names[says.UNKNOWN_SERVICE]

        def of(*keys: str, default: int = NONE) -> I32:
            codes = [
                next((names[r[key]] for key in keys if r.get(key)), default)
                for r in recorder.resources
            ]
            return np.array(codes, np.int32)[columns.resource]

        self.service = of("service.name", default=default)
        self.instance = of("service.instance.id")
        self.host = of("host.name", "hostname", "host.id")

    @property
    def place(self) -> I64:
        """Numbers the processes whose clocks agree: by host, or by service and instance."""
        return distinct(self.service, self.instance, self.host).of

    def column(self, keys: tuple[str, ...]) -> I32:
        """Value codes by span of the first of ``keys`` that it has; -1 for none."""
        found = np.full(self.rows, NONE, np.int32)
        for key in reversed(keys):
            code = self._recorder.names.get(key)
            if code is not None:
                at = self.key == code
                found[self.row[at]] = self.value[at]
        return found

    def table(self) -> Attributes:
        return Attributes(
            self.row, self.key, self.value, pl.Series("", self.values, dtype=pl.String)
        )


class _Names:
    """Names and messages of every span, derived once for each distinct combination."""

    def __init__(self, recorder: Recorder, columns: _Columns, said: _Attributes) -> None:
        self._codes = recorder.names
        self._values = said.values
        self._kind = columns.kind
        names = list(recorder.names)
        url, url_path = said.column(says.URL), said.column(says.URL_PATH)
        path, path_key = self._paths(np.where(url >= 0, url, url_path))
        template, _ = self._paths(said.column(says.URL_TEMPLATE))
        path = np.where(template >= 0, template, path)
        address = said.column(says.ADDRESS)
        address = np.where(address >= 0, self._coded(address), self._hosts(url))
        target = self._coded(said.column(says.TARGET))
        texts = {
            "method": self._coded(said.column(says.HTTP_METHOD)),
            "route": self._coded(said.column(says.HTTP_ROUTE)),
            "path": path,
            "rpc_system": self._coded(said.column(says.RPC_SYSTEM)),
            "rpc_service": self._coded(said.column(says.RPC_SERVICE)),
            "rpc_method": self._coded(said.column(says.RPC_METHOD)),
            "messaging": self._coded(said.column(says.MESSAGING_SYSTEM)),
            "destination": self._coded(said.column(says.DESTINATION)),
            "database": self._coded(said.column(says.DATABASE)),
            "target": target,
            "peer": self._coded(said.column(says.PEER)),
            "address": address,
        }
        names = list(self._codes)
        combination = distinct(columns.kind, columns.name, *texts.values())
        first = combination.first
        derived = np.full((4, combination.count), NONE, np.int32)
        for number, row in enumerate(first.tolist()):
            given = {
                key: names[code] if (code := int(column[row])) >= 0 else None
                for key, column in texts.items()
            }
            found = says.named(
                says.Said(
                    kind=int(columns.kind[row]),
                    name=names[columns.name[row]],
                    **given,
                ),
            )
            derived[:, number] = [
                self._codes[found.operation],
                self._codes[found.template],
                NONE if found.peer is None else self._codes[found.peer],
                NONE if found.protocol is None else self._codes[found.protocol],
            ]
        self.operation, self.template, self.peer, self.protocol = derived[:, combination.of]
        self.target = target
        self.failed = self._failures(columns, said)

        key = self._coded(said.column(says.KEY))
        attempt, items = said.column(says.ATTEMPT), said.column(says.ITEMS)
        self._says_attempt, self._says_items = attempt >= 0, items >= 0
        self.messages = Messages(
            request_bytes=self._numbers(said.column(says.REQUEST_BYTES)),
            response_bytes=self._numbers(said.column(says.RESPONSE_BYTES)),
            attempt=np.maximum(self._numbers(attempt), 0).astype(np.int32),
            items=np.where(items >= 0, self._numbers(items), 1).astype(np.int32),
            key=np.where(key >= 0, key, path_key).astype(np.int32),
        )

    def inherit(self, parent: I32) -> None:
        """A call span above a library's client span knows what the library does not."""
        calling = (self._kind == Kind.CLIENT) | (self._kind == Kind.PRODUCER)
        row = np.flatnonzero(calling & (parent >= 0))
        above = parent[row]
        tells = (self._kind[above] == Kind.INTERNAL) & (self.target[above] >= 0)
        row, above = row[tells], above[tells]
        self.peer[row] = self.target[above]
        messages = self.messages
        for column in (messages.request_bytes, messages.response_bytes, messages.key):
            column[row] = np.where(column[row] >= 0, column[row], column[above])
        again = ~self._says_attempt[row]
        messages.attempt[row[again]] = messages.attempt[above[again]]
        many = ~self._says_items[row]
        messages.items[row[many]] = messages.items[above[many]]

    def _coded(self, values: I32) -> I32:
        """Value codes as name codes."""
        used = np.unique(values[values >= 0])
        code = np.full(len(self._values) + 1, NONE, np.int32)
        code[used] = [self._codes[self._values[v]] for v in used.tolist()]
        return code[values]

    def _numbers(self, values: I32) -> I64:
        """Value codes as integers; -1 for what is none."""
        used = np.unique(values[values >= 0])
        number = np.full(len(self._values) + 1, NONE, np.int64)
        number[used] = [_integer(self._values[v]) for v in used.tolist()]
        return number[values]

    def _paths(self, values: I32) -> tuple[I32, I32]:
        """Name codes of the template, and of what it hides."""
        used = np.unique(values[values >= 0])
        template = np.full(len(self._values) + 1, NONE, np.int32)
        key = np.full(len(self._values) + 1, NONE, np.int32)
        for v in used.tolist():
            found = says.templated(says.path_of(self._values[v]))
            template[v] = self._codes[found.template]
            if found.key is not None:
                key[v] = self._codes[found.key]
        return template[values], key[values]

    def _hosts(self, values: I32) -> I32:
        used = np.unique(values[values >= 0])
        host = np.full(len(self._values) + 1, NONE, np.int32)
        for v in used.tolist():
            if (found := says.host_of(self._values[v])) is not None:
                host[v] = self._codes[found]
        return host[values]

    def _failures(self, columns: _Columns, said: _Attributes) -> Bool:
        http, rpc, error = (
            said.column(keys) for keys in (says.HTTP_CODE, says.RPC_CODE, says.ERROR)
        )
        seen = distinct(columns.kind, columns.status, http, rpc, error)
        failed = np.zeros(seen.count, np.bool_)

        def text(code: int) -> str | None:
            return self._values[code] if code >= 0 else None

        for number, row in enumerate(seen.first.tolist()):
            status = int(columns.status[row])
            failed[number] = status == Status.ERROR or (
                status == Status.UNSET
                and says.failed(
                    int(columns.kind[row]),
                    text(int(http[row])),
                    text(int(rpc[row])),
                    text(int(error[row])),
                )
            )
        return failed[seen.of]


def _integer(text: str) -> int:
    try:
        return min(max(int(float(text)), NONE), 2**31 - 1)
    except (ValueError, OverflowError):
        return NONE
