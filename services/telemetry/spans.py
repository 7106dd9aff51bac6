"""From a hop record to a span: names, kinds and attributes; what is its protocol's own says
conventions.py.

Pure, and split in two by how often things change: a :class:`Shape` is everything of a record that
repeats, and decides name, kind, status and most attributes; ids, times, sizes and the key are the
record's own. The encoder (encoding.py) serialises each shape once.

Rules that the conventions leave open:

- ``server.address`` is the callee's service name: a replica's host and port say nothing about the
  design under test. The replica asked is ``hopbench.replica``.
- What a span of a request that was served waited for a worker is ``hopbench.queue_ns`` of it.
- A call of a parallel fan-out is named ``call.<service>.<operation>``; its ``rpc.method`` is the
  operation, except over gRPC, where the conventions give that name to the full method.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from services.telemetry.conventions import End, convention
from services.telemetry.protobuf import Value
from services.telemetry.records import (
    ATTEMPT,
    CALLS,
    CLIENT,
    INTERNAL,
    ITEMS,
    KEY,
    KIND,
    PEER,
    PRODUCER,
    QUEUE,
    SITE,
    STATUS,
    Record,
)
from services.wire.ports import Status, Wire
from services.wire.topology import Topology

FANOUT: Final = "fanout.parallel"
QUEUE_NS: Final = "hopbench.queue_ns"

_ERROR_TYPE: Final = {
    Status.ERROR: "error",
    Status.TIMEOUT: "timeout",
    Status.UNAVAILABLE: "unavailable",
    Status.CANCELLED: "cancelled",
}


class Shape(NamedTuple):
    """What repeats about a record: fields as in records.py, those that do not count set to 0."""

    kind: int
    site: int
    status: int
    attempt: int
    items: int
    calls: int
    peer: int | str
    keyed: bool
    queued: bool = False


class SpanShape(NamedTuple):
    name: str
    kind: int
    attributes: dict[str, Value]
    """Without sizes, key and the time that a queued request waited."""
    error: bool
    request_size: str | None
    """Names of the attributes that hold the sizes; None where the span carries none."""
    response_size: str | None


def shape_of(record: Record) -> Shape:
    kind = record[KIND]
    calling = kind in (CLIENT, PRODUCER)
    return Shape(
        kind=kind,
        site=record[SITE],
        status=record[STATUS],
        attempt=record[ATTEMPT] if calling else 0,
        items=record[ITEMS],
        calls=record[CALLS] if calling or kind == INTERNAL else 0,
        peer=record[PEER],
        keyed=record[KEY] is not None,
        queued=record[QUEUE] > 0,
    )


def span_shape(topology: Topology, shape: Shape) -> SpanShape:
    match shape.kind:
        case 1:
            return SpanShape(
                name=FANOUT,
                kind=INTERNAL,
                attributes={"fanout.call_count": shape.items, "fanout.failures": shape.calls},
                error=False,
                request_size=None,
                response_size=None,
            )
        case 3 | 4:
            return _calling(topology.wires[shape.site], end_of(topology, shape), shape)
        case _:
            return _serving(end_of(topology, shape), shape)


def key_attributes(end: End, key: str) -> dict[str, Value]:
    """What the application's key adds to a span of a keyed shape."""
    return {"hopbench.key": key, **convention(end.protocol).key(end, key)}


def end_of(topology: Topology, shape: Shape) -> End:
    if shape.kind in (CLIENT, PRODUCER):
        wire = topology.wires[shape.site]
        protocol, service, operation = wire.protocol, wire.callee, wire.operation
    else:
        target = topology.operations[shape.site]
        protocol, service, operation = str(shape.peer), target.service, target.operation
    return End(protocol, shape.kind, service, operation, Status(shape.status), shape.keyed)


def _calling(wire: Wire, end: End, shape: Shape) -> SpanShape:
    says = convention(end.protocol)
    words = says.says(end)
    name = words.name
    said: dict[str, Value] = {
        "server.address": wire.callee,
        "hopbench.mode": wire.mode,
        "hopbench.items": shape.items,
        **words.attributes,
    }
    if says.to_replica:
        said["hopbench.replica"] = shape.peer
    if shape.calls:
        name = f"call.{wire.callee}.{wire.operation}"
        said["target.service"] = wire.callee
        said.setdefault("rpc.method", wire.operation)
    if shape.attempt:
        said[says.again] = shape.attempt
    return SpanShape(
        name=name,
        kind=shape.kind,
        attributes=said | _failure(end.status, words.code),
        error=end.status is not Status.OK,
        request_size=says.request_size,
        response_size=says.response_size if wire.mode == "call" else None,
    )


def _serving(end: End, shape: Shape) -> SpanShape:
    words = convention(end.protocol).says(end)
    return SpanShape(
        name=words.name,
        kind=shape.kind,
        attributes={
            "hopbench.items": shape.items,
            **({} if shape.queued else {QUEUE_NS: 0}),
            **words.attributes,
            **_failure(end.status, words.code),
        },
        error=end.status is not Status.OK,
        request_size=None,
        response_size=None,
    )


def _failure(status: Status, code: str | None) -> dict[str, Value]:
    return {} if status is Status.OK else {"error.type": code or _ERROR_TYPE[status]}
