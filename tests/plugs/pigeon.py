"""A transport: messages by pigeon, from loft to loft of one process. Each loft has a number."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from time import monotonic_ns

from services.telemetry.conventions import Convention, End, Words
from services.transports.site import BrokerKind, Site
from services.wire.ports import Directory, Handler, Incoming, Outgoing, Reply, Status

_LOFTS: dict[int, PigeonLoft] = {}
_NUMBERS = count(1)


class PigeonLoft:
    def __init__(self, site: Site) -> None:
        self._site = site
        self._number = next(_NUMBERS)

    async def start(self, handler: Handler) -> int:
        self._handler = handler
        _LOFTS[self._number] = self
        return self._number

    async def receive(self, out: Outgoing, peer: str) -> Reply:
        wire = out.wire
        return await self._handler(
            Incoming(
                service=self._site.service,
                operation=wire.operation,
                protocol=wire.protocol,
                mode=wire.mode,
                ticket=out.ticket,
                key=out.key,
                request_bytes=out.request_bytes,
                response_bytes=out.response_bytes,
                timeout_ns=out.timeout_ns,
                attempt=out.attempt,
                trace=out.trace,
                received_ns=monotonic_ns(),
                peer=peer,
            )
        )

    async def stop(self, grace_ns: int) -> None:
        del _LOFTS[self._number]


class Pigeons:
    def __init__(self, site: Site) -> None:
        self._site = site
        self._directory: Directory = {}

    async def connect(self, directory: Directory) -> None:
        self._directory = directory

    async def call(self, out: Outgoing) -> Reply:
        number = self._directory[out.wire.callee][out.replica].ports[out.wire.protocol]
        loft = _LOFTS.get(number)
        if loft is None:
            return Reply(Status.UNAVAILABLE, 0, "nobody home")
        return await loft.receive(out, self._site.peer)

    async def publish(self, out: Outgoing) -> Reply:
        raise NotImplementedError("messages are Kafka's")

    async def close(self) -> None:
        self._directory = {}


def client(site: Site) -> Pigeons:
    return Pigeons(site)


def listener(site: Site) -> PigeonLoft:
    return PigeonLoft(site)


def settings(kind: BrokerKind | None) -> Mapping[str, object]:
    return {"pigeons": 1}


def _says(end: End) -> Words:
    method = f"{end.service}/{end.operation}"
    return Words(method, None, {"rpc.system.name": "pigeon", "rpc.method": method})


PIGEON = Convention(_says)
