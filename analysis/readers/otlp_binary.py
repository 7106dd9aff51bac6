"""OTLP in protobuf: one export request (or TracesData), or a stream of them.

In a stream each request stands behind its length, 4 bytes, big-endian: the collector's file
exporter and this project's spools write so. A stream whose writer was killed ends in the middle of
a request, which is left out and counted.

The loop is written for speed: the runtime makes a Python object for every field that is touched,
so each is touched once.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, Final

from google.protobuf.message import DecodeError
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from analysis.readers.content import Content, Format
from analysis.reading import NONE, Malformed, Recorder, Skipped, Unreadable, text_of

_LENGTH: Final = struct.Struct(">I")
_RESOURCE_SPANS: Final = b"\x0a"
_LATEST: Final = 2**63 - 1


def _framed(data: bytes) -> bool:
    """Whether a length stands before the first request. Alone, it would start with its tag."""
    return len(data) >= 4 and not data.startswith(_RESOURCE_SPANS)


def _requests(content: Content, recorder: Recorder) -> Iterator[tuple[int, bytes]]:
    """Offset and bytes of each request."""
    data = content.data
    if not _framed(data):
        yield 0, data
        return
    at = 0
    while at < len(data):
        if at + 4 > len(data) or at + 4 + (length := _LENGTH.unpack_from(data, at)[0]) > len(data):
            recorder.skipped.append(Skipped(content.file, at, "the last request breaks off"))
            return
        yield at + 4, data[at + 4 : at + 4 + length]
        at += 4 + length


def _recognises(content: Content) -> bool:
    data = content.data
    if _framed(data):
        (length,) = _LENGTH.unpack_from(data)
        body = data[4 : 4 + length]
        if length and not body.startswith(_RESOURCE_SPANS):
            return False
        if length > len(body):
            # A spool that was cut in its very first request.
            return len(data) < 8 or body.startswith(_RESOURCE_SPANS)
    else:
        body = data
        if not body.startswith(_RESOURCE_SPANS):
            return False
    try:
        first = TracesData.FromString(body)
    except DecodeError:
        return False
    spans = (s for r in first.resource_spans for scope in r.scope_spans for s in scope.spans)
    span = next(spans, None)
    # Metrics and logs have the same outer fields; ids of the right width tell spans from them.
    return span is None or (len(span.trace_id) == 16 and len(span.span_id) == 8)


def _read(content: Content, recorder: Recorder) -> None:
    for offset, body in _requests(content, recorder):
        try:
            request = TracesData.FromString(body)
        except DecodeError as error:
            raise Unreadable(f"not a protobuf export request: {error}", offset) from error
        for resource_spans in request.resource_spans:
            resource = recorder.add_resource(
                {kv.key: text_of(_value(kv.value)) for kv in resource_spans.resource.attributes}
            )
            for scope in resource_spans.scope_spans:
                _spans(scope.spans, resource, recorder, content.file, offset)


def _spans(spans: Any, resource: int, recorder: Recorder, file: str, offset: int) -> None:
    trace_of, id_of, names, values = (
        recorder.traces.binary,
        recorder.ids.binary,
        recorder.names,
        recorder.values,
    )
    row_of, key_of, value_of = (
        recorder.attribute_row.append,
        recorder.attribute_key.append,
        recorder.attribute_value.append,
    )
    for span in spans:
        trace_id, span_id, parent_id = span.trace_id, span.span_id, span.parent_span_id
        start, end = span.start_time_unix_nano, span.end_time_unix_nano
        try:
            if len(trace_id) != 16 or len(span_id) != 8:
                raise Malformed("no trace id and span id of 16 and 8 bytes")
            row = len(recorder.trace)
            recorder.add(
                trace=trace_of(trace_id),
                span=id_of(span_id),
                parent=id_of(parent_id) if parent_id else NONE,
                name=span.name,
                kind=span.kind,
                status=span.status.code,
                start=start,
                end=end,
                resource=resource,
                links=(
                    [(trace_of(link.trace_id), id_of(link.span_id)) for link in span.links]
                    if span.links
                    else ()
                ),
            )
        except Malformed as error:
            recorder.skipped.append(Skipped(file, offset, str(error)))
            continue
        for kv in span.attributes:
            value = kv.value
            text = value.string_value or text_of(_value(value))
            row_of(row)
            key_of(names[kv.key])
            value_of(values[text])


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
