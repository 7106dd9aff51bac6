"""Our encoder against the official one, span for span and field for field."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans as official
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    Link,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
)

from services.telemetry import protobuf
from services.telemetry.encoding import SpanEncoder, encode_spans
from services.telemetry.records import (
    CLIENT,
    CONSUMER,
    END,
    INTERNAL,
    KIND,
    PARENT,
    PRODUCER,
    SERVER,
    SPAN,
    START,
    TRACE,
    Record,
)
from services.telemetry.spans import shape_of, span_shape
from services.wire import ports
from tests.telemetry.build import (
    OFFSET_NS,
    SHOP,
    WIRES,
    attributes_of,
    calling,
    fanning,
    said_by,
    serving,
    spans_of,
)

_KINDS = {INTERNAL: SpanKind.INTERNAL, SERVER: SpanKind.SERVER, CLIENT: SpanKind.CLIENT,
          PRODUCER: SpanKind.PRODUCER, CONSUMER: SpanKind.CONSUMER}  # fmt: skip
RESOURCE: protobuf.Attributes = {"service.name": "order", "process.pid": 17}


def _records() -> Iterator[Record]:
    for edge in WIRES:
        for status in ports.Status:
            for key in (None, "17", "ä/b"):
                yield calling(edge, status=status, key=key)
                yield serving(edge, status=status, key=key)
        yield calling(edge, attempt=3, items=40_000, fanout=True, sizes=(0, 1 << 40))
        yield serving(edge, queue=750_000)
    yield serving(WIRES[0], parent=0)
    yield fanning()


def _readable(record: Record) -> ReadableSpan:
    """The same span as the SDK would hold it."""
    shape = span_shape(SHOP, shape_of(record))
    remote = record[KIND] in (SERVER, CONSUMER)
    parent = SpanContext(record[TRACE], record[PARENT], is_remote=remote)
    return ReadableSpan(
        name=shape.name,
        context=SpanContext(record[TRACE], record[SPAN], False, TraceFlags(1)),
        parent=parent if record[PARENT] else None,
        resource=Resource(RESOURCE),
        attributes=attributes_of(SHOP, record),
        links=(Link(parent),) if record[KIND] == CONSUMER else (),
        kind=_KINDS[record[KIND]],
        status=Status(StatusCode.ERROR) if shape.error else Status(),
        start_time=record[START] + OFFSET_NS,
        end_time=record[END] + OFFSET_NS,
        instrumentation_scope=InstrumentationScope("hopbench.services"),
    )


def _comparable(span: Span) -> tuple[Span, dict[str, object]]:
    """Attributes have no order, and an empty status message is no status."""
    bare = Span()
    bare.CopyFrom(span)
    said = said_by(bare.attributes)
    assert len(said) == len(bare.attributes)
    del bare.attributes[:]
    if not bare.status.code:
        bare.ClearField("status")
    return bare, said


@pytest.mark.parametrize("record", list(_records()))
def test_a_record_encodes_to_what_the_official_encoder_makes_of_its_span(record: Record) -> None:
    (ours,) = spans_of(encode_spans(SHOP, [record], RESOURCE, OFFSET_NS))
    request = official([_readable(record)])
    (theirs,) = spans_of(request.SerializeToString())
    if not record[PARENT]:
        # The official encoder cannot know that a root's parent would have been remote.
        theirs.flags |= 0x200
    assert _comparable(ours) == _comparable(theirs)


def test_the_envelope_is_the_official_one() -> None:
    record = calling(WIRES[0])
    ours = encode_spans(SHOP, [record], RESOURCE, OFFSET_NS)
    theirs = official([_readable(record)])
    decoded = ExportTraceServiceRequest.FromString(ours)
    for envelope in (decoded, theirs):
        del envelope.resource_spans[0].scope_spans[0].spans[:]
    assert decoded == theirs


def test_a_template_is_never_shared_by_records_that_differ() -> None:
    records = list(_records())
    encoder = SpanEncoder(SHOP, OFFSET_NS)
    together: list[bytes] = []
    encoder.encode(records, together)
    again: list[bytes] = []
    encoder.encode(records, again)
    apart = [_alone(record) for record in records]
    assert together == again == apart


def _alone(record: Record) -> bytes:
    out: list[bytes] = []
    SpanEncoder(SHOP, OFFSET_NS).encode([record], out)
    return out[0]


def test_an_unsampled_record_makes_no_span() -> None:
    assert spans_of(encode_spans(SHOP, [calling(WIRES[0], sampled=False)], RESOURCE, 0)) == []
