"""The span table as Parquet (docs/output.md, "Files of a run").

Ids and names are text, so that any tool can read it: ``trace``, ``span``, ``parent`` (the id that
was named, also where it never came), ``root``; kinds and statuses are words; ``attributes`` is a
map and ``links`` a list of {trace, span}. Times are Unix ns.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from analysis.arrays import I32, NONE, U8
from analysis.arrays.codes import Codes, matched
from analysis.arrays.forest import Forest, cyclic
from analysis.spans.table import (
    COLUMNS,
    NAME_COLUMNS,
    Absent,
    Attributes,
    Flag,
    Kind,
    Links,
    Messages,
    SpanTable,
    Status,
    empty,
)
from services.errors import BadInput

KINDS: Final = tuple(kind.name.lower() for kind in Kind)
STATUSES: Final = tuple(status.name.lower() for status in Status)
_NUMBERS: Final = ("depth", "start", "end", "lo", "hi", "flags")
_MESSAGES: Final = ("request_bytes", "response_bytes", "attempt", "items")
_MAY_BE_NULL: Final = ("parent", *NAME_COLUMNS, "key", "attributes", "links")
_LINK: Final = pa.struct([("trace", pa.string()), ("span", pa.string())])
_SCHEMA: Final = pa.schema(
    [
        pa.field(c.name, pa.from_numpy_dtype(c.dtype) if c.name in _NUMBERS else pa.string())
        for c in COLUMNS
    ]
    + [
        pa.field("request_bytes", pa.int64()),
        pa.field("response_bytes", pa.int64()),
        pa.field("attempt", pa.int32()),
        pa.field("items", pa.int32()),
        pa.field("key", pa.string()),
        pa.field("attributes", pa.map_(pa.string(), pa.string())),
        pa.field("links", pa.list_(_LINK)),
    ]
)


def write_parquet(spans: SpanTable, file: BinaryIO) -> None:
    pq.write_table(_arrow(spans), file, compression="zstd")


def holds_spans(path: Path) -> bool:
    """Whether the file means to be a span table. One that breaks off does: reading it says so."""
    try:
        return {"trace", "span", "parent"} <= set(pq.read_schema(path).names)
    except (OSError, pa.ArrowInvalid):
        return True


def read_parquet(path: Path) -> SpanTable:
    """Raises BadInput for a file that is no span table."""
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise BadInput(f"not a Parquet file: {error}", file=str(path)) from error
    return _table(_checked(table, str(path)), str(path)) if table.num_rows else empty()


def _checked(table: pa.Table, file: str) -> pa.Table:
    """The columns of a span table, each of its type. Raises BadInput."""

    def refused(reason: str) -> BadInput:
        hint = "span tables are the spans.parquet of a run's trials"
        return BadInput(f"no span table: {reason}", file=file, hint=hint)

    columns = []
    for field in _SCHEMA:
        if field.name not in table.column_names:
            raise refused(f"column {field.name!r} is missing")
        column = table[field.name]
        try:
            column = column.cast(field.type)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            raise refused(f"column {field.name!r} is no {field.type}") from None
        if column.null_count and field.name not in _MAY_BE_NULL:
            raise refused(f"column {field.name!r} lacks {column.null_count} values")
        columns.append(column)
    found = pa.table(columns, schema=_SCHEMA)
    for name, words in (("kind", KINDS), ("status", STATUSES)):
        unknown = set(found[name].unique().to_pylist()) - set(words)
        if unknown:
            raise refused(f"column {name!r} holds {min(unknown)!r}")
    if pc.any(pc.or_(pc.less(found["start"], 0), pc.less(found["end"], found["start"]))).as_py():
        raise refused("a span ends before it starts, or starts before 1970")
    return found


def _arrow(spans: SpanTable) -> pa.Table:
    def text(codes: I32, of: pa.Array) -> pa.Array:
        return of.take(pa.array(codes, mask=codes < 0))

    names = pa.array(spans.names, pa.string())
    ids = spans.span_ids.to_arrow().cast(pa.string())
    traces = spans.trace_ids.to_arrow().cast(pa.string())
    parent = (
        np.where(spans.parent >= 0, spans.span[spans.parent], NONE)
        if len(spans)
        else (spans.parent)
    )
    parent[spans.absent.row] = spans.absent.span
    columns: dict[str, Any] = {
        "trace": text(spans.trace, traces),
        "span": ids.take(pa.array(spans.span)),
        "parent": ids.take(pa.array(parent, mask=parent < 0)),
        "root": ids.take(pa.array(spans.span[spans.root])),
        "kind": text(spans.kind.astype(np.int32), pa.array(KINDS)),
        "status": text(spans.status.astype(np.int32), pa.array(STATUSES)),
        **{name: pa.array(getattr(spans, name)) for name in _NUMBERS},
        **{name: text(getattr(spans, name), names) for name in NAME_COLUMNS},
        **{name: pa.array(getattr(spans.messages, name)) for name in _MESSAGES},
        "key": text(spans.messages.key, names),
        "attributes": _map(spans, names),
        "links": _links(spans, ids, traces),
    }
    order = [c.name for c in COLUMNS]
    order += [name for name in columns if name not in order]
    return pa.table({name: columns[name] for name in order})


def _offsets(row: I32, rows: int) -> pa.Array:
    counts = np.bincount(row, minlength=rows)
    return pa.array(np.concatenate(([0], np.cumsum(counts))).astype(np.int32))


def _map(spans: SpanTable, names: pa.Array) -> pa.Array:
    said = spans.attributes
    return pa.MapArray.from_arrays(
        _offsets(said.row, len(spans)),
        names.take(pa.array(said.key)),
        said.values.to_arrow().cast(pa.string()).take(pa.array(said.value)),
    )


def _links(spans: SpanTable, ids: pa.Array, traces: pa.Array) -> pa.Array:
    links = spans.links
    structs = pa.StructArray.from_arrays(
        [
            traces.take(pa.array(links.trace, mask=links.trace < 0)),
            ids.take(pa.array(links.span)),
        ],
        ["trace", "span"],
    )
    return pa.ListArray.from_arrays(_offsets(links.row, len(spans)), structs)


def _table(table: pa.Table, file: str) -> SpanTable:
    table = table.combine_chunks()
    traces, names, ids = Codes(), Codes(), Codes()

    def coded(column: pa.Array, into: Codes) -> I32:
        dictionary = _one(column).dictionary_encode()
        own = [into[text] for text in dictionary.dictionary.to_pylist()]
        code: I32 = np.array([*own, NONE], np.int32)
        indices = dictionary.indices.fill_null(len(own)).to_numpy(zero_copy_only=False)
        found: I32 = code[indices]
        return found

    trace = coded(table["trace"], traces)
    span, named = coded(table["span"], ids), coded(table["parent"], ids)
    flags = _numbers(table, "flags", np.uint16)
    # Of several spans with one id, the one that is not marked is the parent.
    findable = np.flatnonzero((flags & np.uint16(Flag.DUPLICATE)) == 0)
    parent = matched(trace, span, findable, trace, named)
    if cyclic(parent).any():
        raise BadInput("no span table: spans are their own ancestors", file=file)
    orphans = np.flatnonzero((named >= 0) & (parent < 0)).astype(np.int32)
    numbers: dict[str, Any] = {
        c.name: _numbers(table, c.name, c.dtype) for c in COLUMNS if c.name in _NUMBERS
    }
    messages = Messages(
        request_bytes=_numbers(table, "request_bytes", np.int64),
        response_bytes=_numbers(table, "response_bytes", np.int64),
        attempt=_numbers(table, "attempt", np.int32),
        items=_numbers(table, "items", np.int32),
        key=coded(table["key"], names),
    )
    named_columns: dict[str, Any] = {name: coded(table[name], names) for name in NAME_COLUMNS}
    attributes, links = _one(table["attributes"]), _one(table["links"])
    values = Codes()
    said = Attributes(
        row=_rows(attributes),
        key=coded(attributes.keys, names),
        value=coded(attributes.items, values),
        values=pl.Series("", list(values), dtype=pl.String),
    )
    far = links.flatten()
    link_trace, link_span = coded(far.field("trace"), traces), coded(far.field("span"), ids)
    present = np.zeros(len(traces), np.bool_)
    present[trace] = True
    link_trace = np.where(present[link_trace], link_trace, NONE).astype(np.int32)
    return SpanTable(
        trace=trace,
        span=span,
        parent=parent,
        # Not by its id, which several spans may have.
        root=Forest(parent).root,
        kind=_words(table["kind"], KINDS),
        status=_words(table["status"], STATUSES),
        **numbers,
        **named_columns,
        names=tuple(names),
        trace_ids=pl.Series("", list(traces)[: int(trace.max()) + 1], dtype=pl.String),
        span_ids=pl.Series("", list(ids), dtype=pl.String),
        messages=messages,
        links=Links(
            _rows(links),
            matched(trace, span, findable, link_trace, link_span),
            link_trace,
            link_span,
        ),
        attributes=said,
        absent=Absent(orphans, named[orphans]),
    )


def _one(column: Any) -> Any:
    """A column as one array."""
    if isinstance(column, pa.ChunkedArray):
        column = column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)
    return column


def _rows(lists: Any) -> I32:
    """The row of each item of a column of lists."""
    offsets = lists.offsets.to_numpy()
    return np.repeat(np.arange(len(lists), dtype=np.int32), np.diff(offsets))


def _numbers(table: pa.Table, name: str, dtype: type[np.generic]) -> NDArray[Any]:
    return np.asarray(_one(table[name]).to_numpy(zero_copy_only=False)).astype(dtype)


def _words(column: Any, words: tuple[str, ...]) -> U8:
    dictionary = _one(column).dictionary_encode()
    own = np.array([words.index(text) for text in dictionary.dictionary.to_pylist()], np.uint8)
    found: U8 = own[dictionary.indices.to_numpy(zero_copy_only=False)]
    return found
