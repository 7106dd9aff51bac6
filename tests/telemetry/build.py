"""A small shop, one edge of every kind, and hop records written by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Literal

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from services.scenario.model import KafkaOptions, Mode, Protocol, Target, Where
from services.telemetry.protobuf import Value
from services.telemetry.records import (
    CLIENT,
    CONSUMER,
    INTERNAL,
    KEY,
    PRODUCER,
    QUEUE,
    REQUEST_BYTES,
    RESPONSE_BYTES,
    SERVER,
    Record,
)
from services.telemetry.spans import QUEUE_NS, end_of, key_attributes, shape_of, span_shape
from services.wire.ports import Cancellable, Incoming, Outgoing, Status, TraceContext, Wire
from services.wire.topology import Topology

TICKET = "00000000000004d2;order.create/1@0"
TRACE = 0x0AF7651916CD43DD8448EB211C80319C
CAME = TraceContext(TRACE, 7, True)
"""The caller's context, as it came."""
OFFSET_NS = 1_700_000_000_000_000_000


def _wire(index: int, to: str, protocol: Protocol, mode: Mode = "call") -> Wire:
    callee, operation = to.split(".")
    return Wire(
        index=index,
        caller="order",
        caller_operation="create",
        callee=callee,
        operation=operation,
        protocol=protocol,
        mode=mode,
        kafka=KafkaOptions(partitions=1, acks="1", linger_ns=0),
    )


HTTP = _wire(0, "inventory.reserve", "http")
GRPC = _wire(1, "price-book.quote", "grpc")
ASKED = _wire(2, "ledger.post", "kafka")
PUBLISHED = _wire(3, "audit.log", "kafka", "publish")
WIRES = (HTTP, GRPC, ASKED, PUBLISHED)
OPERATIONS = (Target("order", "create"), *(Target(w.callee, w.operation) for w in WIRES))
SHOP = Topology(OPERATIONS, WIRES, {}, {operation: i for i, operation in enumerate(OPERATIONS)})


class Ticks:
    """A clock of which every look costs ten ns."""

    kind: Literal["wall", "virtual"] = "virtual"

    def __init__(self) -> None:
        self.at_ns = 1000

    def now_ns(self) -> int:
        self.at_ns += 10
        return self.at_ns

    async def sleep(self, ns: int) -> None:
        raise NotImplementedError

    async def cpu(self, ns: int, where: Where) -> None:
        raise NotImplementedError

    async def pause(self, ns: int) -> None:
        raise NotImplementedError

    def call_later(self, ns: int, callback: Callable[[], object]) -> Cancellable:
        raise NotImplementedError


def numbered() -> Callable[[int], int]:
    """An id source that counts: 1, 2, 3…"""
    ids = iter(range(1, 1 << 30))
    return lambda bits: next(ids)


def incoming(
    wire: Wire = HTTP,
    *,
    operation: str | None = None,
    trace: TraceContext | None = CAME,
    **changes: Any,
) -> Incoming:
    usual = Incoming(
        service=wire.callee,
        operation=operation or wire.operation,
        protocol=wire.protocol,
        mode=wire.mode,
        ticket=TICKET,
        key=None,
        request_bytes=100,
        response_bytes=200,
        timeout_ns=None,
        attempt=0,
        trace=trace,
        received_ns=500,
    )
    return replace(usual, **changes)


def outgoing(wire: Wire = HTTP, *, trace: TraceContext | None = None, **changes: Any) -> Outgoing:
    usual = Outgoing(
        wire=wire,
        replica=1,
        ticket=TICKET,
        key=None,
        request_bytes=100,
        response_bytes=200,
        timeout_ns=None,
        attempt=0,
        trace=trace,
    )
    return replace(usual, **changes)


def calling(
    wire: Wire,
    *,
    span: int = 2,
    sampled: bool = True,
    start: int = 1_000_000,
    end: int = 3_000_000,
    status: Status = Status.OK,
    sizes: tuple[int, int] = (100, 200),
    attempt: int = 0,
    items: int = 1,
    fanout: bool = False,
    key: str | None = None,
) -> Record:
    kind = PRODUCER if wire.mode == "publish" else CLIENT
    return (
        kind, wire.index, TRACE, span, 1, sampled, start, end, int(status), *sizes,
        attempt, items, int(fanout), 1, key, 0,
    )  # fmt: skip


def serving(
    wire: Wire,
    *,
    span: int = 3,
    parent: int = 2,
    sampled: bool = True,
    status: Status = Status.OK,
    items: int = 1,
    calls: int = 0,
    key: str | None = None,
    queue: int = 0,
) -> Record:
    kind = CONSUMER if wire.mode == "publish" else SERVER
    return (
        kind, wire.index + 1, TRACE, span, parent, sampled, 1_500_000, 2_500_000, int(status),
        100, 200, 0, items, calls, wire.protocol, key, queue,
    )  # fmt: skip


def fanning(*, calls: int = 5, failures: int = 0) -> Record:
    return (
        INTERNAL, 0, TRACE, 9, 1, True, 1_000_000, 9_000_000, 0, 0, 0, 0, calls, failures, 0,
        None, 0,
    )  # fmt: skip


def attributes_of(topology: Topology, record: Record) -> dict[str, Value]:
    """All attributes of the span of one record, the slow and readable way."""
    shape = shape_of(record)
    span = span_shape(topology, shape)
    said = dict(span.attributes)
    if span.request_size is not None:
        said[span.request_size] = record[REQUEST_BYTES]
    if span.response_size is not None:
        said[span.response_size] = record[RESPONSE_BYTES]
    if record[QUEUE]:
        said[QUEUE_NS] = record[QUEUE]
    key = record[KEY]
    if key is not None:
        said.update(key_attributes(end_of(topology, shape), key))
    return said


def spans_of(request: bytes) -> list[Span]:
    decoded = ExportTraceServiceRequest.FromString(request)
    return [
        span
        for resource in decoded.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def value_of(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [value_of(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return said_by(value.kvlist_value.values)
    return None if kind is None else getattr(value, kind)


def said_by(attributes: Iterable[KeyValue]) -> dict[str, Any]:
    return {attribute.key: value_of(attribute.value) for attribute in attributes}
