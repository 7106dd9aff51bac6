"""What the spans of each protocol say, by the semantic conventions 1.44.

Rules that the conventions leave open:

- The host in ``url.full`` is the callee's service name: a replica's host and port say nothing about
  the design under test.
- A CLIENT span has a status code only where the callee gave it: OK and ERROR. A deadline, a lost
  connection and a cancelled call end with ``error.type`` alone.
- Request and reply over Kafka are CLIENT and SERVER spans with messaging attributes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pkgutil import resolve_name
from typing import Final, NamedTuple

from services.scenario.model import Protocol
from services.scenario.names import grpc_method, http_path, keyed, keyed_route, topic
from services.scenario.protocols import PROTOCOLS
from services.telemetry.protobuf import Value
from services.telemetry.records import CLIENT, PRODUCER
from services.wire.ports import Status
from services.wire.statuses import GRPC as GRPC_CODES
from services.wire.statuses import HTTP as HTTP_CODES

INSTRUMENTED: Final = ("http", "grpc")
"""Protocols whose hops an official instrumentation opens, and carries ``traceparent`` for."""


class End(NamedTuple):
    """One end of a hop: what decides the words of its protocol."""

    protocol: Protocol
    kind: int
    service: str
    """The callee, at both ends."""
    operation: str
    status: Status
    keyed: bool

    @property
    def calling(self) -> bool:
        return self.kind in (CLIENT, PRODUCER)


class Words(NamedTuple):
    name: str
    """Of the span."""
    code: str | None
    """The status as the protocol tells it, where it does."""
    attributes: dict[str, Value]


def _no_key(end: End, key: str) -> dict[str, Value]:
    return {}


@dataclass(frozen=True, slots=True)
class Convention:
    says: Callable[[End], Words]
    key: Callable[[End, str], dict[str, Value]] = _no_key
    """What the application's key adds, beside ``hopbench.key``."""
    request_size: str = "hopbench.request_bytes"
    response_size: str = "hopbench.response_bytes"
    again: str = "hopbench.attempt"
    """Attributes of a caller's sizes, and of its attempts after the first."""
    to_replica: bool = True
    """Whether a replica is asked, and the caller says which."""


@cache
def convention(protocol: Protocol) -> Convention:
    """As the table of protocols names it."""
    found: Convention = resolve_name(PROTOCOLS[protocol].convention)
    return found


def _http(end: End) -> Words:
    path = http_path(end.operation)
    route = keyed_route(path) if end.keyed else path
    said: dict[str, Value] = {"http.request.method": "POST"}
    if end.calling:
        said["url.template"] = route
        answered = end.status in (Status.OK, Status.ERROR)
    else:
        said |= {"http.route": route, "url.scheme": "http"}
        # Without an answer the connection was reset (services/wire/ports.py, Handler).
        answered = end.status is not Status.UNAVAILABLE
    if not end.keyed:
        said |= _http_place(end, path)
    if answered:
        said["http.response.status_code"] = HTTP_CODES[end.status]
    return Words(f"POST {route}", str(HTTP_CODES[end.status]) if answered else None, said)


def _http_place(end: End, path: str) -> dict[str, Value]:
    return {"url.full": f"http://{end.service}{path}"} if end.calling else {"url.path": path}


def _http_key(end: End, key: str) -> dict[str, Value]:
    return _http_place(end, keyed(http_path(end.operation), key))


def _grpc(end: End) -> Words:
    method, code = grpc_method(end.service, end.operation)[1:], GRPC_CODES[end.status].name
    return Words(
        method,
        code,
        {"rpc.system.name": "grpc", "rpc.method": method, "rpc.response.status_code": code},
    )


def _kafka(end: End) -> Words:
    doing, destination = "send" if end.calling else "process", topic(end.service, end.operation)
    return Words(
        f"{doing} {destination}",
        None,
        {
            "messaging.system": "kafka",
            "messaging.destination.name": destination,
            "messaging.operation.name": doing,
            "messaging.operation.type": doing,
        },
    )


def _kafka_key(end: End, key: str) -> dict[str, Value]:
    return {"messaging.kafka.message.key": key}


HTTP: Final = Convention(
    _http,
    _http_key,
    request_size="http.request.body.size",
    response_size="http.response.body.size",
    again="http.request.resend_count",
)
GRPC: Final = Convention(_grpc)
KAFKA: Final = Convention(_kafka, _kafka_key, to_replica=False)
