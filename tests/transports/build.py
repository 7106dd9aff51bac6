"""Small topologies over real sockets: one caller ``a``, callees with as many replicas as asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

from services import transports
from services.scenario.model import KafkaOptions, Mode, Ordering, Protocol, Target
from services.transports.site import Broker, Counters, Hooks, Site
from services.wire import ticket
from services.wire.ports import (
    Address,
    Handler,
    Incoming,
    Listener,
    Outgoing,
    Reply,
    Status,
    Transport,
)
from services.wire.ports import Wire as WireRecord
from services.wire.topology import Topology

Main = Callable[[], Awaitable[None]]
Run = Callable[[Main], None]

GRACE_NS = 5 * 10**9
TICKET = ticket.entry_ticket(7, 1)


def wire(
    protocol: Protocol,
    to: str = "b.reserve",
    *,
    index: int = 0,
    mode: Mode = "call",
    partitions: int = 4,
    acks: Literal["0", "1", "all"] = "1",
    linger_ns: int = 0,
    ordering: Ordering = "none",
) -> WireRecord:
    callee, operation = to.split(".")
    return WireRecord(
        index=index,
        caller="a",
        caller_operation="run",
        callee=callee,
        operation=operation,
        protocol=protocol,
        mode=mode,
        kafka=KafkaOptions(partitions, acks, linger_ns, ordering),
    )


def outgoing(to: WireRecord, **changes: Any) -> Outgoing:
    plain = Outgoing(
        wire=to,
        replica=0,
        ticket=TICKET,
        key=None,
        request_bytes=10,
        response_bytes=20,
        timeout_ns=None,
        attempt=0,
        trace=None,
    )
    return replace(plain, **changes)


async def answer(incoming: Incoming) -> Reply:
    """What was asked for."""
    return Reply(Status.OK, incoming.response_bytes)


class Recorder:
    """A handler that keeps what it was given, by replica, and answers as asked."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, Incoming]] = []
        self._more = asyncio.Condition()

    def at(self, place: str) -> Handler:
        async def handler(incoming: Incoming) -> Reply:
            async with self._more:
                self.seen.append((place, incoming))
                self._more.notify_all()
            return Reply(Status.OK, incoming.response_bytes)

        return handler

    @property
    def last(self) -> Incoming:
        return self.seen[-1][1]

    async def until(self, count: int) -> None:
        """Wait until ``count`` messages came; the test's own timeout is the bound."""
        async with self._more:
            await self._more.wait_for(lambda: len(self.seen) >= count)


class Stuck:
    """A handler that never answers, and tells when it is entered and when it is cancelled."""

    def __init__(self) -> None:
        self.entered, self.cancelled = asyncio.Event(), asyncio.Event()

    async def __call__(self, _: Incoming) -> Reply:
        self.entered.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        raise AssertionError


@dataclass(slots=True)
class Running:
    transport: Transport
    listeners: dict[str, Listener]
    """By ``service/replica``."""
    counters: Counters
    sites: dict[str, Site]
    addresses: dict[str, tuple[Address, ...]]


@asynccontextmanager
async def running(
    *wires: WireRecord,
    handler: Handler = answer,
    replicas: int = 1,
    broker: Broker | None = None,
    round: str = "",
    hooks: Hooks | None = None,
    recorder: Recorder | None = None,
) -> AsyncIterator[Running]:
    """Listeners for every callee and a connected transport, all of the first wire's protocol."""
    protocol = wires[0].protocol
    callees = sorted({to.callee for to in wires})
    targets = dict.fromkeys(Target(to.callee, to.operation) for to in wires)
    topology = Topology((Target("a", "run"), *targets), wires, {}, {})
    counters = Counters()
    base = Site("a", 0, 1, topology, counters, broker=broker, round=round)
    if hooks is not None:
        base = replace(base, hooks=hooks)
    listeners: dict[str, Listener] = {}
    sites = {"a/0": base}
    addresses: dict[str, tuple[Address, ...]] = {}
    transport = transports.client(protocol, base)
    try:
        for callee in callees:
            ports: list[Address] = []
            for number in range(replicas):
                site = replace(base, service=callee, replica=number, replicas=replicas)
                sites[site.peer] = site
                listener = listeners[site.peer] = transports.listener(protocol, site)
                port = await listener.start(recorder.at(site.peer) if recorder else handler)
                ports.append(Address("127.0.0.1", {} if port is None else {protocol: port}))
            addresses[callee] = tuple(ports)
        await transport.connect(addresses)
        yield Running(transport, listeners, counters, sites, addresses)
    finally:
        await transport.close()
        for listener in listeners.values():
            await listener.stop(GRACE_NS)
