"""The wire in memory: calls are awaits, messages are tasks. For virtual time, and for tests.

A hop takes no time unless a :class:`HopLatency` says so. Kafka is a rule for who takes which
message: an acknowledgement says that the message is in memory, and that is so at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine
from dataclasses import dataclass, field
from typing import Any, Protocol

from services.scenario.names import reply_topic
from services.transports.kafka.partitions import (
    Lanes,
    partition_for,
    partitions_asked,
    reader,
)
from services.transports.site import Site
from services.wire.ports import (
    Clock,
    Directory,
    Handler,
    Incoming,
    Outgoing,
    Reply,
    Status,
    Wire,
)


@dataclass(frozen=True, slots=True)
class HopLatency:
    """What the wire itself takes: ``fixed_ns`` one way, and ``ns_per_byte`` of payload."""

    fixed_ns: int = 0
    ns_per_byte: float = 0.0

    def ns(self, payload: int) -> int:
        return self.fixed_ns + round(self.ns_per_byte * payload)


Latency = Callable[[Wire], HopLatency | None]
"""What hops over an edge take."""


def no_latency(wire: Wire) -> HopLatency | None:
    return None


class Turns(Protocol):
    """The event loop of a simulated process, which its own CPU work may hold."""

    def busy(self) -> bool: ...

    async def turn(self) -> None: ...


@dataclass(slots=True, eq=False)
class Endpoint:
    """One replica, as messages reach it."""

    site: Site
    handler: Handler
    turns: Turns | None


@dataclass(slots=True, eq=False)
class Network:
    """All replicas that can be reached, and the messages under way."""

    clock: Clock
    """Of the wire: what hops take is waited for on it."""
    latency: Latency = no_latency
    borders: Collection[int] = frozenset()
    """Edges, by index, whose calls get a task of their own. Without them each hop nests a little
    deeper in the task of the entry, and a long chain would end at the recursion limit."""
    endpoints: dict[str, dict[int, Endpoint]] = field(default_factory=dict)
    """By service and replica."""
    handlers: set[asyncio.Task[Reply]] = field(default_factory=set)
    """Of Kafka messages."""
    lanes: Lanes = field(default_factory=Lanes)

    def ended(self, handler: asyncio.Task[Reply]) -> None:
        self.handlers.discard(handler)
        handler.result()  # a bug in a handler is nobody's reply: it ends the loop

    async def idle(self) -> None:
        """Return when no message is under way any more, nor any that came meanwhile."""
        while self.handlers:
            await asyncio.wait(self.handlers)


class MemoryListener:
    """One replica's door. The network does not tell protocols apart: one door is for all."""

    def __init__(self, network: Network, site: Site, turns: Turns | None = None) -> None:
        self._network = network
        self._site = site
        self._turns = turns

    async def start(self, handler: Handler) -> int | None:
        self.open(handler)
        return None

    def open(self, handler: Handler) -> None:
        replicas = self._network.endpoints.setdefault(self._site.service, {})
        replicas[self._site.replica] = Endpoint(self._site, handler, self._turns)

    async def stop(self, grace_ns: int) -> None:
        self._network.endpoints.get(self._site.service, {}).pop(self._site.replica, None)


class MemoryTransport:
    """The caller's side, for one replica and all protocols."""

    __slots__ = (
        "_borders",
        "_clock",
        "_endpoints",
        "_network",
        "_now",
        "_partitions",
        "_peer",
        "_site",
        "_turns",
    )

    def __init__(self, network: Network, site: Site, turns: Turns | None = None) -> None:
        self._network = network
        self._site = site
        self._peer = site.peer
        self._turns = turns
        self._clock = network.clock
        self._now = network.clock.now_ns
        self._endpoints = network.endpoints
        self._borders = network.borders
        self._partitions = partitions_asked(site.topology)

    async def connect(self, directory: Directory) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close."""

    async def call(self, out: Outgoing) -> Reply:
        wire = out.wire
        sent_ns = self._now()
        endpoint, partition = self._reach(out)
        if endpoint is None:
            return Reply(Status.UNAVAILABLE, 0, f"no replica of {wire.callee} takes this")
        latency = self._network.latency(wire)
        if latency is not None:
            await self._clock.sleep(latency.ns(out.request_bytes))
        if wire.protocol == "kafka":
            # A caller that gives up takes no message back: it is handled and answered.
            handling = self._answered(endpoint, out, partition, sent_ns)
            reply = await asyncio.shield(self._message(handling))
            if reply.status is Status.UNAVAILABLE:
                await asyncio.get_running_loop().create_future()  # nobody answers
        elif wire.index in self._borders:
            reply = await asyncio.get_running_loop().create_task(self._asked(endpoint, out))
        else:
            reply = await self._asked(endpoint, out)
        if latency is not None:
            await self._clock.sleep(latency.ns(reply.response_bytes))
        turns = self._turns
        if turns is not None and turns.busy():
            await turns.turn()
        return reply

    async def publish(self, out: Outgoing) -> Reply:
        wire = out.wire
        sent_ns = self._now()
        endpoint, partition = self._reach(out)
        if endpoint is None:
            return Reply(Status.UNAVAILABLE, 0, f"no replica of {wire.callee} takes this")
        latency = self._network.latency(wire)
        if latency is not None:
            await self._clock.sleep(latency.ns(out.request_bytes))
        self._message(self._consumed(endpoint, out, partition, sent_ns))
        if latency is not None and wire.kafka.acks != "0":
            await self._clock.sleep(latency.ns(0))
        return Reply(Status.OK, 0)

    async def _asked(self, endpoint: Endpoint, out: Outgoing) -> Reply:
        turns = endpoint.turns
        if turns is not None and turns.busy():
            await turns.turn()
        return await endpoint.handler(self._incoming(out, out.timeout_ns, self._now(), 0))

    def _incoming(
        self, out: Outgoing, timeout_ns: int | None, received_ns: int, held_ns: int
    ) -> Incoming:
        wire = out.wire
        return Incoming(
            wire.callee,
            wire.operation,
            wire.protocol,
            wire.mode,
            out.ticket,
            out.key,
            out.request_bytes,
            out.response_bytes,
            timeout_ns,
            out.attempt,
            out.trace,
            received_ns,
            self._peer,
            held_ns,
        )

    def _message(self, handling: Coroutine[Any, Any, Reply]) -> asyncio.Task[Reply]:
        task = asyncio.get_running_loop().create_task(handling)
        self._network.handlers.add(task)
        task.add_done_callback(self._network.ended)
        return task

    async def _consumed(
        self, endpoint: Endpoint, out: Outgoing, partition: int, sent_ns: int
    ) -> Reply:
        topic, turns, now = out.wire.topic, endpoint.turns, self._now
        self._site.counters.produce(topic, now())
        if turns is not None and turns.busy():
            await turns.turn()
        received_ns = now()
        async with self._network.lanes.lane(topic, partition):
            endpoint.site.counters.consumed[topic] += 1
            timeout_ns = None if out.timeout_ns is None else sent_ns + out.timeout_ns - received_ns
            held_ns = now() - received_ns
            return await endpoint.handler(self._incoming(out, timeout_ns, received_ns, held_ns))

    async def _answered(
        self, endpoint: Endpoint, out: Outgoing, partition: int, sent_ns: int
    ) -> Reply:
        reply = await self._consumed(endpoint, out, partition, sent_ns)
        if reply.status is Status.UNAVAILABLE:
            return reply
        topic = reply_topic(self._site.service, self._site.replica)
        endpoint.site.counters.produced[topic] += 1
        self._site.counters.consumed[topic] += 1
        return reply

    def _reach(self, out: Outgoing) -> tuple[Endpoint | None, int]:
        """Who takes it, and over Kafka from which partition."""
        wire = out.wire
        replicas = self._endpoints.get(wire.callee)
        if not replicas:
            return None, 0
        if wire.protocol != "kafka":
            return replicas.get(out.replica), 0
        key = None if out.key is None else out.key.encode()
        partition = partition_for(key, out.ticket, self._partitions[wire.topic])
        return replicas.get(reader(partition, len(replicas))), partition
