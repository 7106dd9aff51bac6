"""How a status is told over each protocol. No protocol's library is imported for it."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final

from services.scenario.model import Protocol
from services.wire.ports import Status


class GrpcCode(enum.IntEnum):
    """Those of gRPC's codes that stand for a status, named and numbered as everywhere in gRPC."""

    OK = 0
    CANCELLED = 1
    DEADLINE_EXCEEDED = 4
    INTERNAL = 13
    UNAVAILABLE = 14


HTTP: Final[Mapping[Status, int]] = {
    Status.OK: 200,
    Status.ERROR: 500,
    Status.TIMEOUT: 504,
    Status.UNAVAILABLE: 503,
    Status.CANCELLED: 499,
}
GRPC: Final[Mapping[Status, GrpcCode]] = {
    Status.OK: GrpcCode.OK,
    Status.ERROR: GrpcCode.INTERNAL,
    Status.TIMEOUT: GrpcCode.DEADLINE_EXCEEDED,
    Status.UNAVAILABLE: GrpcCode.UNAVAILABLE,
    Status.CANCELLED: GrpcCode.CANCELLED,
}
_PLAIN: Final[Mapping[Status, int]] = {
    status: -1 if status is Status.UNAVAILABLE else int(status) for status in Status
}

OF_HTTP: Final[Mapping[int, Status]] = {code: status for status, code in HTTP.items()}
OF_GRPC: Final[Mapping[int, Status]] = {code: status for status, code in GRPC.items()}


def codes(protocol: Protocol) -> Mapping[Status, int]:
    """What the client of an entry gets to see of each, as samples record it; -1 for no answer.

    A protocol without codes of its own, as Kafka, has the status itself in its reply.
    """
    return {"http": HTTP, "grpc": GRPC}.get(protocol, _PLAIN)
