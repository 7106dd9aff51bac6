"""OTLP in protobuf: one export request (or TracesData), or a stream of them.

In a stream each request stands behind its length, 4 bytes, big-endian: the collector's file
exporter and this project's spools write so. A stream whose writer was killed ends in the middle of
a request, which is left out and counted.

Reading goes by descriptors of our own, wire-compatible with OTLP's (opentelemetry-proto 1.9,
``trace.proto``): attributes, statuses and links are declared as bytes. The runtime then hands each
over as one bytes object, and a table knows what these bytes meant the last time; nearly all of
them repeat. That is three times as fast as touching every field of every attribute, and a broken
attribute breaks its span alone.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import Any, Final

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.proto.trace.v1.trace_pb2 import Status as SpanStatus

from analysis.arrays import NONE
from analysis.reading.formats.content import Content, Format
from analysis.reading.recorder import Malformed, Recorder, Skipped, Unreadable, text_of

_LENGTH: Final = struct.Struct(">I")
_RESOURCE_SPANS: Final = b"\x0a"
_ZEROS: Final = re.compile(rb"\0*")
_TABLE: Final = 1 << 18
"""Entries of a table of repeating bytes, before it starts over."""

_FIELD: Final = FieldDescriptorProto


def _traces_class() -> Any:
    """A ``TracesData`` whose spans keep in bytes what repeats."""
    file = FileDescriptorProto(name="hopbench/raw_trace.proto", package="hopbench", syntax="proto3")

    def message(name: str, *fields: tuple[int, str, int, bool, str]) -> None:
        file.message_type.append(
            DescriptorProto(
                name=name,
                field=[
                    _FIELD(
                        number=number,
                        name=field,
                        type=kind,  # type: ignore[arg-type]
                        label=_FIELD.LABEL_REPEATED if repeated else _FIELD.LABEL_OPTIONAL,
                        type_name=f".hopbench.{of}" if of else None,
                    )
                    for number, field, kind, repeated, of in fields
                ],
            )
        )

    message("Traces", (1, "resource_spans", _FIELD.TYPE_MESSAGE, True, "ResourceSpans"))
    message(
        "ResourceSpans",
        (1, "resource", _FIELD.TYPE_BYTES, False, ""),
        (2, "scope_spans", _FIELD.TYPE_MESSAGE, True, "ScopeSpans"),
    )
    message("ScopeSpans", (2, "spans", _FIELD.TYPE_MESSAGE, True, "Span"))
    message(
        "Span",
        (1, "trace_id", _FIELD.TYPE_BYTES, False, ""),
        (2, "span_id", _FIELD.TYPE_BYTES, False, ""),
        (4, "parent_span_id", _FIELD.TYPE_BYTES, False, ""),
        (5, "name", _FIELD.TYPE_BYTES, False, ""),
        (6, "kind", _FIELD.TYPE_INT32, False, ""),
        (7, "start", _FIELD.TYPE_FIXED64, False, ""),
        (8, "end", _FIELD.TYPE_FIXED64, False, ""),
        (9, "attributes", _FIELD.TYPE_BYTES, True, ""),
        (13, "links", _FIELD.TYPE_BYTES, True, ""),
        (15, "status", _FIELD.TYPE_BYTES, False, ""),
    )
    pool = DescriptorPool()
    pool.Add(file)
    return GetMessageClass(pool.FindMessageTypeByName("hopbench.Traces"))


_TRACES: Final = _traces_class()


def _framed(data: bytes) -> bool:
    """Whether a length stands before the first request. Alone, it would start with its tag."""
    return len(data) >= 4 and not data.startswith(_RESOURCE_SPANS)


def _past_empty(data: bytes, at: int) -> int:
    """Where the next request with something in it begins: an empty one is a length of zero."""
    zeros = _ZEROS.match(data, at)
    assert zeros is not None
    return at + (zeros.end() - at) // 4 * 4


def _requests(content: Content, recorder: Recorder) -> Iterator[tuple[int, bytes]]:
    """Offset and bytes of each request."""
    data = content.data
    if not _framed(data):
        yield 0, data
        return
    at = _past_empty(data, 0)
    while at < len(data):
        if at + 4 > len(data) or at + 4 + (length := _LENGTH.unpack_from(data, at)[0]) > len(data):
            recorder.skipped.append(Skipped(content.file, at, "the last request breaks off"))
            return
        yield at + 4, data[at + 4 : at + 4 + length]
        at = _past_empty(data, at + 4 + length)


def _recognises(content: Content) -> bool:
    # Empty requests say nothing of the format: a file of zeros is a row of them.
    data = content.data
    if _framed(data):
        data = data[_past_empty(data, 0) :]
    if _framed(data):
        (length,) = _LENGTH.unpack_from(data)
        body = data[4 : 4 + length]
        if length > len(body):
            # A spool that was cut in its very first request.
            return body.startswith(_RESOURCE_SPANS)
    else:
        body = data
    if body and not body.startswith(_RESOURCE_SPANS):
        return False
    try:
        first = _TRACES.FromString(body)
    except DecodeError:
        return False
    spans = (s for r in first.resource_spans for scope in r.scope_spans for s in scope.spans)
    span = next(spans, None)
    # Metrics and logs have the same outer fields; ids of the right width tell spans from them.
    if span is None:
        return bool(data)
    return len(span.trace_id) == 16 and len(span.span_id) == 8


def _read(content: Content, recorder: Recorder) -> None:
    pairs, texts, codes = _Pairs(recorder), _Texts(), _Codes()
    for offset, body in _requests(content, recorder):
        try:
            request = _TRACES.FromString(body)
        except DecodeError as error:
            raise Unreadable(f"not a protobuf export request: {error}", offset) from error
        for group in request.resource_spans:
            try:
                said = Resource.FromString(group.resource)
            except DecodeError as error:
                raise Unreadable(f"not a resource: {error}", offset) from error
            resource = recorder.add_resource(
                {kv.key: text_of(_value(kv.value)) for kv in said.attributes}
            )
            for scope in group.scope_spans:
                for span in scope.spans:
                    try:
                        recorder.add(
                            trace=_id(span.trace_id, 16, recorder.traces),
                            span=_id(span.span_id, 8, recorder.ids),
                            parent=recorder.ids[parent]
                            if (parent := span.parent_span_id)
                            else NONE,
                            name=texts[span.name],
                            kind=span.kind,
                            status=codes[status] if (status := span.status) else 0,
                            start=span.start,
                            end=span.end,
                            resource=resource,
                            attributes=[pairs[raw] for raw in span.attributes],
                            links=_links(raw, recorder) if (raw := span.links) else (),
                        )
                    except Malformed as error:
                        recorder.skipped.append(Skipped(content.file, offset, str(error)))
        for table in (pairs, texts, codes):
            if len(table) > _TABLE:
                table.clear()


def _id(raw: bytes, width: int, ids: Any) -> int:
    if len(raw) != width:
        raise Malformed("no trace id and span id of 16 and 8 bytes")
    code: int = ids[raw]
    return code


class _Pairs(dict[bytes, int]):
    """A ``KeyValue`` as written → the recorder's code of the pair."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self._recorder = recorder

    def __missing__(self, raw: bytes) -> int:
        try:
            kv = KeyValue.FromString(raw)
        except DecodeError:
            raise Malformed("a broken attribute") from None
        code = self[raw] = self._recorder.pair(kv.key, text_of(_value(kv.value)))
        return code


class _Texts(dict[bytes, str]):
    def __missing__(self, raw: bytes) -> str:
        try:
            text = self[raw] = raw.decode()
        except UnicodeDecodeError:
            raise Malformed("a name that is no UTF-8") from None
        return text


class _Codes(dict[bytes, int]):
    """A ``Status`` as written → its code."""

    def __missing__(self, raw: bytes) -> int:
        try:
            code = self[raw] = SpanStatus.FromString(raw).code
        except DecodeError:
            raise Malformed("a broken status") from None
        return code


def _links(links: Any, recorder: Recorder) -> list[tuple[int, int]]:
    found = []
    for raw in links:
        try:
            link = Span.Link.FromString(raw)
        except DecodeError:
            raise Malformed("a broken link") from None
        found.append((recorder.traces[link.trace_id], recorder.ids[link.span_id]))
    return found


def _value(value: Any) -> object:
    """An ``AnyValue`` as Python's own."""
    match value.WhichOneof("value"):
        case None:
            return ""
        case "array_value":
            return [_value(item) for item in value.array_value.values]
        case "kvlist_value":
            return {kv.key: _value(kv.value) for kv in value.kvlist_value.values}
        case which:
            return getattr(value, which)


OTLP_BINARY: Final = Format("OTLP protobuf", _recognises, _read)
