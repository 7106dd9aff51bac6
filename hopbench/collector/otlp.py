"""What an OTLP receiver must know, without the network: signals, encodings, counts.

Source: the OTLP specification 1.9 (opentelemetry.io/docs/specs/otlp). A receiver ignores unknown
fields; ids in JSON are hex, case-insensitive, where protobuf's own JSON mapping has base64; a
request is taken as a whole, or in part with ``partial_success``, or refused.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import orjson
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

Encoding = Literal["protobuf", "json"]
_ID_FIELDS = frozenset({"traceId", "spanId", "parentSpanId", "trace_id", "span_id"})


class Junk(Exception):
    """A body that is no export request of its signal."""


class TooLarge(Exception):
    """A body that is larger than allowed once decompressed."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A request as it will be kept. ``record`` is protobuf, ``items`` what it holds."""

    record: bytes
    items: int
    rejected: int
    """Items left out of ``record`` because no reader could use them."""
    why: str


@dataclass(frozen=True, slots=True)
class Signal:
    """One of OTLP's signals: where it is sent, where it is kept, what its items are called."""

    name: Literal["traces", "metrics", "logs"]
    path: str
    service: str
    items: str
    request: type[Message]
    sift: Callable[[Any], tuple[int, int, str]]
    """Counts the items of a parsed request, and removes those that can't be used from it:
    (kept, rejected, why)."""
    response: Callable[[int, str], Message]
    """The answer for so many rejected items and the reason."""


def _spans(request: ExportTraceServiceRequest) -> tuple[int, int, str]:
    # The runtime makes no Python object for a span that is only checked for its ids, so this
    # costs little more than parsing, which validates the body down to its last byte.
    kept = rejected = 0
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            bad = [
                i
                for i, span in enumerate(scope.spans)
                if not (_usable(span.trace_id, 16) and _usable(span.span_id, 8))
            ]
            for i in reversed(bad):
                del scope.spans[i]
            kept += len(scope.spans)
            rejected += len(bad)
    return kept, rejected, "spans without a valid trace id and span id" if rejected else ""


def _usable(id_: bytes, length: int) -> bool:
    return len(id_) == length and id_.count(0) < length


def _points(request: ExportMetricsServiceRequest) -> tuple[int, int, str]:
    kept = 0
    for resource in request.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                data = metric.WhichOneof("data")
                if data is not None:
                    kept += len(getattr(metric, data).data_points)
    return kept, 0, ""


def _logs(request: ExportLogsServiceRequest) -> tuple[int, int, str]:
    return (
        sum(len(s.log_records) for r in request.resource_logs for s in r.scope_logs),
        0,
        "",
    )


def _trace_response(rejected: int, why: str) -> Message:
    answer = ExportTraceServiceResponse()
    if rejected:
        answer.partial_success.rejected_spans = rejected
        answer.partial_success.error_message = why
    return answer


SIGNALS: tuple[Signal, ...] = (
    Signal(
        name="traces",
        path="/v1/traces",
        service="opentelemetry.proto.collector.trace.v1.TraceService",
        items="spans",
        request=ExportTraceServiceRequest,
        sift=_spans,
        response=_trace_response,
    ),
    Signal(
        name="metrics",
        path="/v1/metrics",
        service="opentelemetry.proto.collector.metrics.v1.MetricsService",
        items="metric_points",
        request=ExportMetricsServiceRequest,
        sift=_points,
        response=lambda _rejected, _why: ExportMetricsServiceResponse(),
    ),
    Signal(
        name="logs",
        path="/v1/logs",
        service="opentelemetry.proto.collector.logs.v1.LogsService",
        items="log_records",
        request=ExportLogsServiceRequest,
        sift=_logs,
        response=lambda _rejected, _why: ExportLogsServiceResponse(),
    ),
)


def inflate(body: bytes, most: int) -> bytes:
    """Undo gzip or deflate, never holding more than ``most`` bytes. Raises Junk or TooLarge."""
    parts: list[bytes] = []
    size = 0
    while body:
        stream = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
        try:
            part = stream.decompress(body, most - size + 1)
        except zlib.error as error:
            raise Junk(f"not gzip: {error}") from error
        size += len(part)
        if size > most:
            raise TooLarge
        if not stream.eof:
            raise Junk("the gzip stream breaks off")
        parts.append(part)
        body = stream.unused_data
    return b"".join(parts)


def take(signal: Signal, body: bytes, encoding: Encoding) -> Taken:
    """Read ``body`` as a request of ``signal``. The record is ``body`` itself where it can be.

    Raises :class:`Junk`.
    """
    request = _from_json(signal, body) if encoding == "json" else _from_binary(signal, body)
    kept, rejected, why = signal.sift(request)
    as_sent = encoding == "protobuf" and not rejected
    return Taken(body if as_sent else request.SerializeToString(), kept, rejected, why)


def _from_binary(signal: Signal, body: bytes) -> Message:
    try:
        return signal.request.FromString(body)
    except DecodeError as error:
        raise Junk(f"not a protobuf {signal.request.DESCRIPTOR.name}: {error}") from error


def _from_json(signal: Signal, body: bytes) -> Message:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Junk(f"not JSON: {error}") from error
    if not isinstance(document, dict):
        raise Junk(f"not a JSON {signal.request.DESCRIPTOR.name}: the document is no object")
    _hex_to_base64(document)
    try:
        return ParseDict(document, signal.request(), ignore_unknown_fields=True)
    except ParseError as error:
        raise Junk(f"not a JSON {signal.request.DESCRIPTOR.name}: {error}") from error


def _hex_to_base64(document: object) -> None:
    """Respell every id in place. Attribute names are values in OTLP JSON, so keys are fields."""
    todo = [document]
    while todo:
        match todo.pop():
            case dict() as node:
                for field, value in node.items():
                    if field in _ID_FIELDS and isinstance(value, str):
                        try:
                            raw = bytes.fromhex(value)
                        except ValueError as error:
                            raise Junk(f"{field} {value!r} is not hexadecimal") from error
                        node[field] = base64.b64encode(raw).decode()
                    else:
                        todo.append(value)
            case list() as nodes:
                todo.extend(nodes)
            case _:
                pass


def answer(message: Message, encoding: Encoding) -> bytes:
    """A response or status message in the encoding of its request."""
    if encoding == "protobuf":
        return message.SerializeToString()
    return orjson.dumps(MessageToDict(message))
