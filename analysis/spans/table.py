"""The span table: all that an analyzer ever sees of a trace.

One columnar table with a fixed schema (:data:`COLUMNS`), dictionaries for ids and names, and side
tables for what only some spans have: messages, links, free attributes, parents that never came.

- A row is a span. Names are codes into ``names``, ids codes into ``trace_ids`` and ``span_ids``;
  -1 is "none" in every column of codes or rows.
- ``parent`` and ``root`` are rows of the same table, so a tree is followed without looking
  anything up.
- ``start`` and ``end`` stay as recorded, whatever was repaired; ``lo`` and ``hi`` are the window
  that a critical-path policy leaves of them, and equal to them until one is applied.

The module is long because whatever makes a table of another has to know every column.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from enum import IntEnum, IntFlag
from functools import cached_property
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from analysis.arrays import I32, I64, NONE, U8, U16, Bool, Integers
from analysis.arrays.codes import Codes
from analysis.arrays.forest import Forest

QUEUE_NS: Final = "hopbench.queue_ns"


class Kind(IntEnum):
    """OTLP's numbers."""

    UNSPECIFIED = 0
    INTERNAL = 1
    SERVER = 2
    CLIENT = 3
    PRODUCER = 4
    CONSUMER = 5


class Status(IntEnum):
    """OTLP's numbers."""

    UNSET = 0
    OK = 1
    ERROR = 2


class Flag(IntFlag):
    ORPHAN = 1
    """It names a parent that is not in its trace."""
    SKEW_ADJUSTED = 4
    """``lo`` and ``hi`` were shifted for clock skew; the shift is ``lo - start``."""
    ASYNC = 8
    """Its parent does not wait for it: a consumer, or a FOLLOWS_FROM reference."""
    DUPLICATE = 16
    """Another span of its trace has the same id and is what children resolve to."""
    ERROR = 32
    FOLLOWS_FROM = 64
    """The parent reference was FOLLOWS_FROM."""
    STEP = 128
    """A step at one end of a hop that another span stands for: no hop of its own."""


class Column(NamedTuple):
    name: str
    dtype: type[np.generic]
    unit: str
    meaning: str


COLUMNS: Final = (
    Column("trace", np.int32, "trace", "trace id, into trace_ids"),
    Column("span", np.int32, "span", "span id, into span_ids"),
    Column("parent", np.int32, "row", "the parent span; -1 for a root or an orphan"),
    Column("root", np.int32, "row", "the topmost ancestor; a root is its own"),
    Column("depth", np.int32, "edges", "distance from the root"),
    Column("start", np.int64, "Unix ns", "as recorded"),
    Column("end", np.int64, "Unix ns", "as recorded, never before start"),
    Column("lo", np.int64, "Unix ns", "start of the window on the critical path"),
    Column("hi", np.int64, "Unix ns", "end of the window on the critical path"),
    Column("kind", np.uint8, "Kind", "OTLP span kind; 0 where not stated"),
    Column("status", np.uint8, "Status", "OTLP status code"),
    Column("service", np.int32, "name", "service.name"),
    Column("instance", np.int32, "name", "service.instance.id"),
    Column("label", np.int32, "name", "the span's own name, as recorded"),
    Column("operation", np.int32, "name", "what is served or asked for, or else the label"),
    Column("template", np.int32, "name", "the operation as the wire has it, ids replaced by *"),
    Column("peer", np.int32, "name", "the other side, as the span's own attributes say"),
    Column("protocol", np.int32, "name", "http, grpc, kafka or another system's name"),
    Column("host", np.int32, "name", "host.name"),
    Column("variant", np.int32, "name", "the scenario's variant that ran"),
    Column("phase", np.int32, "name", "warmup, measured or drain, by the request's due time"),
    Column("flags", np.uint16, "Flag", "repairs and properties, bitwise"),
)
NAME_COLUMNS: Final = tuple(c.name for c in COLUMNS if c.unit == "name")


@dataclass(frozen=True, slots=True)
class Messages:
    """What a span carried, row by row; -1 where the span does not say."""

    request_bytes: I64
    response_bytes: I64
    attempt: I32
    """0 is the first attempt, or one that says nothing."""
    items: I32
    """Items carried; 1 where the span says nothing."""
    key: I32
    """Name code of the application's key: a path segment, a message key, ``hopbench.key``."""

    @staticmethod
    def empty(rows: int) -> Messages:
        return Messages(
            request_bytes=np.full(rows, NONE, np.int64),
            response_bytes=np.full(rows, NONE, np.int64),
            attempt=np.zeros(rows, np.int32),
            items=np.ones(rows, np.int32),
            key=np.full(rows, NONE, np.int32),
        )


@dataclass(frozen=True, slots=True)
class Links:
    """Span links, in row order. ``target`` is the row linked to and ``trace`` its trace's code;
    -1 where the target, or all of its trace, is not in the table."""

    row: I32
    target: I32
    trace: I32
    span: I32

    @staticmethod
    def empty() -> Links:
        none = np.zeros(0, np.int32)
        return Links(none, none, none, none)


@dataclass(frozen=True, slots=True)
class Attributes:
    """Every attribute as read, in row order; ``key`` is a name code, ``value`` text by code."""

    row: I32
    key: I32
    value: I32
    values: pl.Series

    @staticmethod
    def empty() -> Attributes:
        none = np.zeros(0, np.int32)
        return Attributes(none, none, none, _text([]))


@dataclass(frozen=True, slots=True)
class Absent:
    """Parents that orphans name, in row order: ``span`` is a code into ``span_ids``."""

    row: I32
    span: I32

    @staticmethod
    def empty() -> Absent:
        none = np.zeros(0, np.int32)
        return Absent(none, none)


@dataclass(frozen=True)
class SpanTable:
    trace: I32
    span: I32
    parent: I32
    root: I32
    depth: I32
    start: I64
    end: I64
    lo: I64
    hi: I64
    kind: U8
    status: U8
    service: I32
    instance: I32
    label: I32
    operation: I32
    template: I32
    peer: I32
    protocol: I32
    host: I32
    variant: I32
    phase: I32
    flags: U16
    names: tuple[str, ...]
    trace_ids: pl.Series
    span_ids: pl.Series
    messages: Messages
    links: Links
    attributes: Attributes
    absent: Absent

    def __post_init__(self) -> None:
        rows = len(self.trace)
        for column in COLUMNS:
            values = getattr(self, column.name)
            if values.dtype != column.dtype or values.shape != (rows,):
                raise ValueError(
                    f"column {column.name}: {values.dtype} of {values.shape}, "
                    f"not {column.dtype.__name__} of ({rows},)"
                )

    def __len__(self) -> int:
        return len(self.trace)

    @property
    def traces(self) -> int:
        return len(self.trace_ids)

    @cached_property
    def forest(self) -> Forest:
        return Forest(self.parent)

    @cached_property
    def queue(self) -> I64:
        """ns from arrival until a worker took it, of spans that say so
        (``hopbench.queue_ns``); -1 of all others."""
        said, found = self.attributes, np.full(len(self), NONE, np.int64)
        here = np.flatnonzero(said.key == self.code(QUEUE_NS))
        used, at = np.unique(said.value[here], return_inverse=True)
        texts = said.values.gather(used.astype(np.int64))
        waited = texts.cast(pl.Int64, strict=False).fill_null(NONE).to_numpy()
        found[said.row[here]] = np.maximum(waited, NONE)[at]
        return np.minimum(found, self.duration)

    @cached_property
    def handling(self) -> I64:
        """ns without that wait; -1 where no worker came to handling it: it failed, and within a
        hundredth of what it had waited."""
        queue = np.maximum(self.queue, 0)
        handled = self.duration - queue
        given_up = self.has(Flag.ERROR) & (handled <= queue // 100) & (queue > 0)
        return np.where(given_up, NONE, handled)

    @cached_property
    def duration(self) -> I64:
        """ns, as recorded."""
        return self.end - self.start

    def name(self, code: int) -> str | None:
        return None if code == NONE else self.names[code]

    def code(self, name: str) -> int:
        """The code of a name; -1 where no span has it."""
        return self._codes.get(name, NONE)

    @cached_property
    def _codes(self) -> Codes:
        return Codes(self.names)

    def trace_id(self, row: int) -> str:
        return str(self.trace_ids[int(self.trace[row])])

    def span_id(self, row: int) -> str:
        return str(self.span_ids[int(self.span[row])])

    def has(self, flag: Flag) -> Bool:
        marked: Bool = (self.flags & np.uint16(flag)) != 0
        return marked

    def select(self, traces: Bool) -> SpanTable:
        """The rows of the traces that are marked, one mark for each trace code.

        Trees stay whole, so parents and roots stay rows of the result.
        """
        keep = traces[self.trace]
        by = {"row": _counted(keep), "trace": _counted(traces)}

        def of(table: Any, rows: Bool) -> dict[str, Any]:
            return _renumbered({name: c[rows] for name, c in _columns(table).items()}, by)

        links, attributes, absent = self.links, self.attributes, self.absent
        return replace(
            self,
            **of(self, keep),
            trace_ids=self.trace_ids.filter(pl.Series(traces)),
            messages=Messages(**of(self.messages, keep)),
            links=Links(**of(links, keep[links.row])),
            attributes=replace(attributes, **of(attributes, keep[attributes.row])),
            absent=Absent(**of(absent, keep[absent.row])),
        )

    def named(self, *, variant: str | None = None, phase: Sequence[str] | None = None) -> SpanTable:
        """With ``variant`` on every row, and ``phase`` (a name for each trace code) on its rows."""
        codes = Codes(self.names)
        changed: dict[str, Any] = {}
        if variant is not None:
            changed["variant"] = np.full(len(self), codes[variant], np.int32)
        if phase is not None:
            changed["phase"] = np.array([codes[name] for name in phase], np.int32)[self.trace]
        return replace(self, names=tuple(codes), **changed)


def mark(flags: U16, rows: Bool | Integers, flag: Flag) -> None:
    """Set ``flag`` on ``rows``, in place."""
    # NumPy takes an IntFlag for an int64.
    flags[rows] |= np.uint16(flag)


def empty() -> SpanTable:
    """A table without spans."""
    return SpanTable(
        **{c.name: np.zeros(0, c.dtype) for c in COLUMNS},
        names=(),
        trace_ids=_text([]),
        span_ids=_text([]),
        messages=Messages.empty(0),
        links=Links.empty(),
        attributes=Attributes.empty(),
        absent=Absent.empty(),
    )


def concat(tables: Iterable[SpanTable]) -> SpanTable:
    """The spans of several tables, such as the rounds of one variant.

    Traces of different tables stay different, whatever their ids.
    """
    parts = [table for table in tables if len(table)]
    if not parts:
        return empty()
    if len(parts) == 1:
        return parts[0]
    names = Codes()
    moved: list[list[dict[str, Any]]] = []
    rows = traces = spans = values = 0
    for part in parts:
        by = {
            "name": np.array([*(names[name] for name in part.names), NONE], np.int32),
            "row": _shifted(len(part), rows),
            "trace": _shifted(len(part.trace_ids), traces),
            "span": _shifted(len(part.span_ids), spans),
            "value": _shifted(len(part.attributes.values), values),
        }
        inside = (part, part.messages, part.links, part.attributes, part.absent)
        moved.append([_renumbered(_columns(table), by) for table in inside])
        rows += len(part)
        traces += len(part.trace_ids)
        spans += len(part.span_ids)
        values += len(part.attributes.values)
    columns, messages, links, attributes, absent = (
        {name: np.concatenate([of[name] for of in alike]) for name in alike[0]}
        for alike in zip(*moved, strict=True)
    )
    return SpanTable(
        **columns,
        names=tuple(names),
        trace_ids=_text(pl.concat([part.trace_ids for part in parts])),
        span_ids=_text(pl.concat([part.span_ids for part in parts])),
        messages=Messages(**messages),
        links=Links(**links),
        attributes=Attributes(
            **attributes, values=_text(pl.concat([part.attributes.values for part in parts]))
        ),
        absent=Absent(**absent),
    )


_HOLDS: Final = {column.name: column.unit for column in COLUMNS} | {
    "row": "row",
    "target": "row",
    "key": "name",
    "value": "value",
}
"""What a column of any of the tables holds, by its name."""


def _columns(table: Any) -> dict[str, NDArray[Any]]:
    found = {field.name: getattr(table, field.name) for field in fields(table)}
    return {name: column for name, column in found.items() if isinstance(column, np.ndarray)}


def _renumbered(columns: Mapping[str, NDArray[Any]], by: Mapping[str, I32]) -> dict[str, Any]:
    """``by`` has the new number for each old one, by what a column holds, and NONE at its end."""
    return {
        name: by[_HOLDS[name]][column] if _HOLDS.get(name) in by else column
        for name, column in columns.items()
    }


def _counted(kept: Bool) -> I32:
    return np.append(np.where(kept, np.cumsum(kept) - 1, NONE), NONE).astype(np.int32)


def _shifted(count: int, by: int) -> I32:
    return np.append(np.arange(by, by + count), NONE).astype(np.int32)


def _text(values: Sequence[str] | pl.Series) -> pl.Series:
    return pl.Series("", values, dtype=pl.String)
