"""From a hop record to a span: names, kinds and attributes, by the semantic conventions 1.44.

Pure, and split in two by how often things change: a :class:`Shape` is everything of a record that
repeats, and decides name, kind, status and most attributes; ids, times, sizes and the key are the
record's own. The encoder (encoding.py) serialises each shape once.

Rules that the conventions leave open:

- ``server.address`` and the host in ``url.full`` are the callee's service name: a replica's host
  and port say nothing about the design under test. The replica asked is ``hopbench.replica``.
- A CLIENT span has a status code only where the callee gave it: OK and ERROR. A deadline, a lost
  connection and a cancelled call end with ``error.type`` alone.
- A call of a parallel fan-out is named ``call.<service>.<operation>``; its ``rpc.method`` is the
  operation, except over gRPC, where the conventions give that name to the full method.
- Request and reply over Kafka are CLIENT and SERVER spans with messaging attributes.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from services.scenario.model import Protocol as WireProtocol
from services.scenario.names import grpc_method, http_path, keyed, keyed_route, topic
from services.scenario.protocols import PROTOCOLS
from services.telemetry.protobuf import Value
from services.telemetry.records import (
    ATTEMPT,
    CALLS,
    CLIENT,
    INTERNAL,
    ITEMS,
    KEY,
    KIND,
    PRODUCER,
    REPLICA,
    SITE,
    STATUS,
    Record,
)
from services.wire.ports import Status, Wire
from services.wire.statuses import GRPC, HTTP
from services.wire.topology import Topology

FANOUT: Final = "fanout.parallel"

_ERROR_TYPE: Final = {
    Status.ERROR: "error",
    Status.TIMEOUT: "timeout",
    Status.UNAVAILABLE: "unavailable",
    Status.CANCELLED: "cancelled",
}
_ANSWERED: Final = (Status.OK, Status.ERROR)


class Shape(NamedTuple):
    """What repeats about a record: fields as in records.py, those that do not count set to 0."""

    kind: int
    site: int
    status: int
    attempt: int
    items: int
    calls: int
    replica: int
    keyed: bool


class SpanShape(NamedTuple):
    name: str
    kind: int
    attributes: dict[str, Value]
    """Without sizes and key."""
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
        replica=record[REPLICA],
        keyed=record[KEY] is not None,
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
            return _calling(topology.wires[shape.site], shape)
        case _:
            return _serving(topology, shape)


def key_attributes(
    protocol: WireProtocol, kind: int, service: str, operation: str, key: str
) -> dict[str, Value]:
    """What the application's key adds to a span of a keyed shape."""
    said: dict[str, Value] = {"hopbench.key": key}
    match protocol:
        case "http":
            path = keyed(http_path(operation), key)
            if kind == CLIENT:
                said["url.full"] = f"http://{service}{path}"
            else:
                said["url.path"] = path
        case "kafka":
            said["messaging.kafka.message.key"] = key
        case "grpc":
            pass
    return said


def place(topology: Topology, shape: Shape) -> tuple[WireProtocol, int, str, str]:
    """Protocol, kind, callee and operation of a hop's end."""
    if shape.kind in (CLIENT, PRODUCER):
        wire = topology.wires[shape.site]
        return wire.protocol, shape.kind, wire.callee, wire.operation
    target = topology.operations[shape.site]
    return list(PROTOCOLS)[shape.replica], shape.kind, target.service, target.operation


def _calling(wire: Wire, shape: Shape) -> SpanShape:
    status = Status(shape.status)
    said: dict[str, Value] = {
        "server.address": wire.callee,
        "hopbench.mode": wire.mode,
        "hopbench.items": shape.items,
    }
    request_size, response_size = "hopbench.request_bytes", "hopbench.response_bytes"
    again = "hopbench.attempt"
    code: str | None = None
    match wire.protocol:
        case "http":
            route = _route(wire.operation, shape)
            name = f"POST {route}"
            said["http.request.method"] = "POST"
            said["url.template"] = route
            if not shape.keyed:
                said["url.full"] = f"http://{wire.callee}{route}"
            if status in _ANSWERED:
                said["http.response.status_code"] = HTTP[status]
                code = str(HTTP[status])
            request_size, response_size = "http.request.body.size", "http.response.body.size"
            again = "http.request.resend_count"
            said["hopbench.replica"] = shape.replica
        case "grpc":
            name = _grpc(said, wire.callee, wire.operation, status)
            code = GRPC[status].name
            said["hopbench.replica"] = shape.replica
        case "kafka":
            name = _kafka(said, wire.callee, wire.operation, "send")
    if shape.calls:
        name = f"call.{wire.callee}.{wire.operation}"
        said["target.service"] = wire.callee
        said.setdefault("rpc.method", wire.operation)
    if shape.attempt:
        said[again] = shape.attempt
    if status is not Status.OK:
        said["error.type"] = code or _ERROR_TYPE[status]
    return SpanShape(
        name=name,
        kind=shape.kind,
        attributes=said,
        error=status is not Status.OK,
        request_size=request_size,
        response_size=response_size if wire.mode == "call" else None,
    )


def _serving(topology: Topology, shape: Shape) -> SpanShape:
    target = topology.operations[shape.site]
    status = Status(shape.status)
    said: dict[str, Value] = {"hopbench.items": shape.items}
    code: str | None = None
    match list(PROTOCOLS)[shape.replica]:
        case "http":
            route = _route(target.operation, shape)
            name = f"POST {route}"
            said["http.request.method"] = "POST"
            said["http.route"] = route
            said["url.scheme"] = "http"
            if not shape.keyed:
                said["url.path"] = route
            if status is not Status.UNAVAILABLE:
                # The connection was reset instead (services/wire/ports.py, Handler).
                said["http.response.status_code"] = HTTP[status]
                code = str(HTTP[status])
        case "grpc":
            name = _grpc(said, target.service, target.operation, status)
            code = GRPC[status].name
        case "kafka":
            name = _kafka(said, target.service, target.operation, "process")
    if status is not Status.OK:
        said["error.type"] = code or _ERROR_TYPE[status]
    return SpanShape(
        name=name,
        kind=shape.kind,
        attributes=said,
        error=status is not Status.OK,
        request_size=None,
        response_size=None,
    )


def _route(operation: str, shape: Shape) -> str:
    path = http_path(operation)
    return keyed_route(path) if shape.keyed else path


def _grpc(said: dict[str, Value], service: str, operation: str, status: Status) -> str:
    method = grpc_method(service, operation)[1:]
    said["rpc.system.name"] = "grpc"
    said["rpc.method"] = method
    said["rpc.response.status_code"] = GRPC[status].name
    return method


def _kafka(said: dict[str, Value], service: str, operation: str, name: str) -> str:
    destination = topic(service, operation)
    said["messaging.system"] = "kafka"
    said["messaging.destination.name"] = destination
    said["messaging.operation.name"] = name
    said["messaging.operation.type"] = name
    return f"{name} {destination}"
