"""What attributes mean: old and new spellings, and what is derived from them.

Pure functions of texts. Sources: OpenTelemetry semantic conventions 1.44 and their predecessors,
which are both met in traces and may be mixed. Where several protocols match, messaging goes before
rpc before http (gRPC looks like HTTP/2, too).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from analysis.spans.table import Kind

# Spellings, the one to believe first.
HTTP_METHOD: Final = ("http.request.method", "http.method")
HTTP_CODE: Final = ("http.response.status_code", "http.status_code")
HTTP_ROUTE: Final = ("http.route",)
URL_TEMPLATE: Final = ("url.template",)
URL: Final = ("url.full", "http.url")
URL_PATH: Final = ("url.path", "http.target")
RPC_SYSTEM: Final = ("rpc.system.name", "rpc.system")
RPC_SERVICE: Final = ("rpc.service",)
RPC_METHOD: Final = ("rpc.method",)
RPC_CODE: Final = ("rpc.response.status_code", "rpc.status_code", "rpc.grpc.status_code")
MESSAGING_SYSTEM: Final = ("messaging.system",)
DESTINATION: Final = (
    "messaging.destination.name",
    "messaging.destination",
    "messaging.destination.template",
)
MESSAGING_OPERATION: Final = ("messaging.operation.type", "messaging.operation")
RECEIVE: Final = "receive"
"""A message was taken, and is not being handled yet (that is ``process``)."""
DATABASE: Final = ("db.system.name", "db.system")
TARGET: Final = ("target.service",)
PEER: Final = ("peer.service", "service.peer.name")
ADDRESS: Final = ("server.address", "net.peer.name", "net.peer.ip", "peer.hostname")
ERROR: Final = ("error",)
ATTEMPT: Final = ("http.request.resend_count", "http.resend_count", "hopbench.attempt")
ITEMS: Final = ("hopbench.items", "messaging.batch.message_count")
KEY: Final = ("hopbench.key", "messaging.kafka.message.key", "messaging.kafka.message_key")
REQUEST_BYTES: Final = (
    "hopbench.request_bytes",
    "http.request.body.size",
    "http.request_content_length",
    "http.request.size",
    "rpc.request.size",
    "messaging.message.body.size",
    "messaging.message.envelope.size",
    "messaging.message.payload_size_bytes",
    "messaging.message_payload_size_bytes",
)
RESPONSE_BYTES: Final = (
    "hopbench.response_bytes",
    "http.response.body.size",
    "http.response_content_length",
    "http.response.size",
    "rpc.response.size",
)

UNKNOWN_SERVICE: Final = "unknown_service"

_SYSTEMS: Final[Mapping[str, str]] = {"apache_kafka": "kafka", "confluent_kafka": "kafka"}

_INTEGER: Final = re.compile(r"-?[0-9]+")
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_HASH: Final = re.compile(r"(?=.*[0-9])[0-9a-fA-F]{8,}")
"""Hex that holds a digit: words of eight letters a-f are rarer than hashes without one."""


class Path(NamedTuple):
    template: str
    key: str | None
    """What the template hides; None where it hides nothing."""


def path_of(url: str) -> str:
    """Path and query of a URL, or of a path."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    if parts.scheme and parts.netloc:
        return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return url


def host_of(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def templated(path: str) -> Path:
    """``/items/42.json?b=1&a=2`` → ``/items/*.json?a=*&b=*``: ids away, everything else kept.

    Path segments holding a uuid, a hash or an integer become ``*``; a query becomes its sorted
    names; a file extension is untouched (docs/analysis.md, "Reading").
    """
    bare, _, query = path.partition("?")
    segments, keys = [], []
    for segment in bare.split("/"):
        stem, dot, rest = segment.partition(".")
        if stem and (_INTEGER.fullmatch(stem) or _UUID.fullmatch(stem) or _HASH.fullmatch(stem)):
            keys.append(stem)
            segments.append(f"*{dot}{rest}")
        else:
            segments.append(segment)
    template = "/".join(segments)
    if query:
        names = sorted(part.partition("=")[0] for part in query.split("&") if part)
        template += "?" + "&".join(f"{name}=*" for name in names)
        keys.append(query)
    return Path(template, "/".join(keys) if keys else None)


@dataclass(frozen=True, slots=True)
class Given:
    """What decides the names of a span; None where it says nothing. Paths are templates."""

    kind: int
    name: str
    method: str | None
    route: str | None
    path: str | None
    rpc_system: str | None
    rpc_service: str | None
    rpc_method: str | None
    messaging: str | None
    destination: str | None
    database: str | None
    target: str | None
    peer: str | None
    address: str | None


@dataclass(frozen=True, slots=True)
class Named:
    operation: str
    template: str
    peer: str | None
    protocol: str | None


def named(given: Given) -> Named:
    """Operation, template, peer and protocol of a span.

    An operation is ``METHOD /template``, ``Service/Method`` or the destination; a span that says
    none of these keeps its name.
    """
    protocol, wire = _protocol(given), _wire(given)
    peer = given.target or given.peer or given.address
    if given.kind in (Kind.INTERNAL, Kind.UNSPECIFIED) and wire is None:
        return Named(given.name, given.name, peer, protocol)
    if protocol is not None and given.messaging and peer in (None, given.address):
        peer = given.destination or given.messaging
    if given.database and peer is None:
        peer = given.database
    return Named(wire or given.name, wire or given.name, peer, protocol)


def _protocol(given: Given) -> str | None:
    if given.messaging:
        return _SYSTEMS.get(given.messaging, given.messaging)
    if given.rpc_system:
        return given.rpc_system
    if given.method:
        return "http"
    return given.database


def _wire(given: Given) -> str | None:
    """The operation as it is on the wire; None where the attributes don't say."""
    if given.messaging and given.destination:
        return given.destination
    if given.rpc_system and given.rpc_method:
        method = given.rpc_method.lstrip("/")
        if "/" in method or not given.rpc_service:
            return method
        return f"{given.rpc_service}/{method}"
    if given.rpc_system and "/" in given.name:
        return given.name.lstrip("/")
    if given.method and (place := given.route or given.path):
        return f"{given.method} {place}"
    return None


def failed(kind: int, http_code: str | None, rpc_code: str | None, error: str | None) -> bool:
    """Whether attributes tell of an error that the status does not."""
    if error is not None and error.lower() not in ("", "false", "0"):
        return True
    if http_code is not None and http_code.isdigit():
        # A 404 is the caller's mistake: an error to the client, none to the server.
        return int(http_code) >= (400 if kind == Kind.CLIENT else 500)
    return rpc_code is not None and rpc_code.upper() not in ("0", "OK", "")
