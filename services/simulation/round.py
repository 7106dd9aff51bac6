"""A round in virtual time: every replica of a scenario, and every arrival, in one loop.

The same behaviour as in real processes, on clocks that jump and a wire that is memory. Each
replica has a clock of its own, on which CPU work competes (services/clocks/virtual.py).
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, Final, Generic, NamedTuple, TypeVar

from services.behaviour import Behaviour, Counters
from services.clocks.virtual import VirtualClock, VirtualLoop, run_virtual, virtual_loop
from services.scenario.chance import request_key, uniform
from services.scenario.distributions import Constant, Distribution
from services.scenario.model import Entry, Scenario, Target
from services.scenario.pace import Closed
from services.scenario.protocols import PROTOCOLS
from services.telemetry.port import Telemetry
from services.transports.kafka.partitions import Lanes, ordered_topics
from services.transports.memory import (
    Endpoint,
    Latency,
    MemoryListener,
    MemoryTransport,
    Network,
    no_latency,
)
from services.transports.site import Counters as WireCounters
from services.transports.site import Site
from services.wire import ticket
from services.wire.ports import Incoming, Outgoing, Reply, Status, TraceContext, Wire
from services.wire.topology import GENERATOR, Topology, entrance, topology

HOPS_PER_TASK: Final = 32
"""A hop nests about ten frames; Python's recursion limit is a thousand."""

_COLLECT_AT: Final = (5_000, 500, 1_000)
_BEHIND_NS: Final = 1_000

T = TypeVar("T", bound=Telemetry)
TelemetryFactory = Callable[[str, int, Topology, VirtualClock], T]
"""Service, replica, topology, the replica's clock → that replica's telemetry."""


class Arrival(NamedTuple):
    """One request as the schedule has it. Times are of the virtual clock."""

    number: int
    intended_ns: int
    entry: int
    """Index into the load's entries."""
    sampled: bool
    trace_id: int
    """0 for a request without ``traceparent``, as with tracing off."""


class Outcome(NamedTuple):
    """What the generator would have recorded. It is never late: a request is sent when due."""

    number: int
    sent_ns: int | None
    """None for a request that was dropped, at ``max_in_flight``."""
    done_ns: int | None
    status: Status | None
    request_bytes: int
    response_bytes: int


@dataclass(frozen=True, slots=True)
class ReplicaResult(Generic[T]):
    service: str
    replica: int
    telemetry: T
    counters: Counters
    wire: WireCounters
    cpu_ns: int


@dataclass(frozen=True, slots=True)
class SimulationResult(Generic[T]):
    outcomes: tuple[Outcome, ...]
    """In the order of arrivals."""
    replicas: tuple[ReplicaResult[T], ...]
    """In the scenario's order of services, then by number."""
    topology: Topology
    wire: WireCounters
    """What the generator sent over Kafka."""
    ended_ns: int
    """When nothing was under way any more."""


def simulate(
    scenario: Scenario,
    round_seed: int,
    arrivals: Sequence[Arrival],
    measured_from_ns: int,
    telemetry_factory: TelemetryFactory[T],
    *,
    start_ns: int = 0,
    closed_until_ns: int | None = None,
    cores: int = 2,
    latency: Latency = no_latency,
) -> SimulationResult[T]:
    """Run ``arrivals`` (in order of time, none before ``start_ns``) through ``scenario``.

    ``scenario`` is the variant's. With ``closed_until_ns`` the users of its closed load take the
    arrivals in order, until that time or the last of them. ``cores`` is what every replica has for
    work in threads and processes. Returns when the last request and the last message have ended;
    the same arguments give the same result, to the nanosecond and the byte.
    """
    with _patient_collector():
        return run_virtual(
            _simulate(
                scenario,
                round_seed,
                arrivals,
                measured_from_ns,
                telemetry_factory,
                closed_until_ns=closed_until_ns,
                cores=cores,
                latency=latency,
            ),
            start_ns=start_ns,
        )


@contextmanager
def _patient_collector() -> Iterator[None]:
    """Look through old objects rarely.

    A simulation keeps what it makes (records, tasks under way). With the usual thresholds a
    fan-out of 100,000 spends three quarters of its time on looking through them again and again.
    """
    before = gc.get_threshold()
    gc.set_threshold(*_COLLECT_AT)
    try:
        yield
    finally:
        gc.set_threshold(*before)


async def _simulate(
    scenario: Scenario,
    round_seed: int,
    arrivals: Sequence[Arrival],
    measured_from_ns: int,
    telemetry_factory: TelemetryFactory[T],
    *,
    closed_until_ns: int | None,
    cores: int,
    latency: Latency,
) -> SimulationResult[T]:
    loop = virtual_loop()
    numbered = topology(scenario)
    network = Network(
        VirtualClock(loop),
        latency,
        task_borders(numbered),
        lanes=Lanes(ordered_topics(numbered)),
    )
    replicas: list[tuple[Site, VirtualClock, T, Counters]] = []
    for service in scenario.services.values():
        for replica in range(service.replicas):
            clock = VirtualClock(loop, cores)
            counted = WireCounters(origin_ns=measured_from_ns)
            site = Site(service.name, replica, service.replicas, numbered, counted)
            telemetry = telemetry_factory(service.name, replica, numbered, clock)
            transport = MemoryTransport(network, site, clock)
            behaviour = Behaviour(
                scenario,
                service.name,
                replica,
                topology=numbered,
                clock=clock,
                telemetry=telemetry,
                transports=dict.fromkeys(PROTOCOLS, transport),
                round_seed=round_seed,
            )
            behaviour.begin(loop.now_ns, measured_from_ns)
            MemoryListener(network, site, clock).open(behaviour.handle)
            replicas.append((site, clock, telemetry, behaviour.counters))
    generator = _Generator(scenario, round_seed, network, loop)
    generator.wire.origin_ns = measured_from_ns
    if closed_until_ns is None:
        outcomes = await generator.send(arrivals)
    else:
        outcomes = await generator.serve(arrivals, closed_until_ns)
    await network.idle()
    return SimulationResult(
        outcomes=tuple(outcomes),
        replicas=tuple(
            ReplicaResult(
                site.service, site.replica, telemetry, counters, site.counters, clock.cpu_ns
            )
            for site, clock, telemetry, counters in replicas
        ),
        topology=numbered,
        wire=generator.wire,
        ended_ns=loop.now_ns,
    )


class _Generator:
    """Sends every arrival when it is due, whatever became of those before."""

    def __init__(
        self, scenario: Scenario, round_seed: int, network: Network, loop: VirtualLoop
    ) -> None:
        self._entries = [
            _Door(entry, list(network.endpoints[entry.target.service].values()))
            for entry in scenario.load.entries
        ]
        self.wire = WireCounters()
        over_kafka = entrance(scenario.load.entries)
        self._wires = {wire.index: wire for wire in over_kafka.wires}
        # The way from the generator takes no time, as over HTTP.
        self._kafka = MemoryTransport(
            replace(network, latency=no_latency), Site(GENERATOR, 0, 1, over_kafka, self.wire)
        )
        self._sends = {"call": self._kafka.call, "publish": self._kafka.publish}
        self._pace = scenario.load.pace
        self._max_in_flight = scenario.load.max_in_flight
        self._round_seed = round_seed
        self._loop = loop
        self._in_flight: set[asyncio.Task[None]] = set()
        self._outcomes: dict[int, Outcome] = {}

    async def serve(self, arrivals: Iterable[Arrival], until_ns: int) -> list[Outcome]:
        """A closed load: users who send, wait and think until it is ``until_ns``."""
        assert isinstance(self._pace, Closed)
        left, begun_ns = iter(arrivals), self._loop.now_ns
        async with asyncio.TaskGroup() as users:
            for begins_ns in self._pace.begins_ns():
                users.create_task(self._user(self._pace, begun_ns + begins_ns, left, until_ns))
        return [self._outcomes[number] for number in sorted(self._outcomes)]

    async def _user(
        self, pace: Closed, ready_ns: int, left: Iterator[Arrival], until_ns: int
    ) -> None:
        while ready_ns < until_ns:
            await self._until(ready_ns)
            if (arrival := next(left, None)) is None:
                return
            await self._answer(arrival)
            key = request_key(self._round_seed, arrival.number)
            ready_ns = self._loop.now_ns + pace.thinks_ns(key)

    async def _until(self, when_ns: int) -> None:
        if when_ns > self._loop.now_ns:
            due = self._loop.create_future()
            self._loop.at_ns(when_ns, due.set_result, None)
            await due

    async def send(self, arrivals: Iterable[Arrival]) -> list[Outcome]:
        loop, in_flight = self._loop, self._in_flight
        numbers: list[int] = []
        for arrival in arrivals:
            numbers.append(arrival.number)
            await self._until(arrival.intended_ns)
            if len(in_flight) >= self._max_in_flight:
                self._outcomes[arrival.number] = Outcome(arrival.number, None, None, None, 0, 0)
                continue
            task = loop.create_task(self._answer(arrival))
            in_flight.add(task)
            task.add_done_callback(self._ended)
        while in_flight:
            await asyncio.wait(in_flight)
        return [self._outcomes[number] for number in numbers]

    def _answer(self, arrival: Arrival) -> Coroutine[Any, Any, None]:
        wire = self._wires.get(arrival.entry)
        if wire is None:
            return self._request(arrival, self._entries[arrival.entry].next())
        return self._message(arrival, wire, self._entries[arrival.entry].entry)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._in_flight.discard(task)
        task.result()  # a bug in behaviour ends the simulation, as any callback's does

    async def _request(self, arrival: Arrival, door: tuple[Entry, Endpoint]) -> None:
        entry, endpoint = door
        sent_ns = self._loop.now_ns
        key = request_key(self._round_seed, arrival.number)
        request_bytes = _bytes(entry.request_bytes, key, "request")
        distinct = entry.key_distinct
        trace_id = arrival.trace_id
        if endpoint.turns is not None and endpoint.turns.busy():
            await endpoint.turns.turn()
        reply: Reply = await endpoint.handler(
            Incoming(
                service=entry.target.service,
                operation=entry.target.operation,
                protocol=entry.protocol,
                mode="call",
                ticket=ticket.entry_ticket(self._round_seed, arrival.number),
                key=None if distinct is None else str(int(uniform(key, "key") * distinct)),
                request_bytes=request_bytes,
                response_bytes=_bytes(entry.response_bytes, key, "response"),
                timeout_ns=entry.timeout_ns - (self._loop.now_ns - sent_ns),
                attempt=0,
                trace=TraceContext(trace_id, trace_id & (2**64 - 1), arrival.sampled)
                if trace_id
                else None,
                received_ns=self._loop.now_ns,
            )
        )
        self._outcomes[arrival.number] = Outcome(
            arrival.number,
            sent_ns,
            self._loop.now_ns,
            reply.status,
            request_bytes,
            reply.response_bytes,
        )

    async def _message(self, arrival: Arrival, wire: Wire, entry: Entry) -> None:
        """A request over a topic, which its consumers share; a call without a reply times out."""
        sent_ns = self._loop.now_ns
        key = request_key(self._round_seed, arrival.number)
        request_bytes = _bytes(entry.request_bytes, key, "request")
        distinct = entry.key_distinct
        trace_id = arrival.trace_id
        reply, done_ns = Reply(Status.TIMEOUT, 0), None
        with suppress(TimeoutError):
            # The callee's own answer at the deadline comes first.
            async with asyncio.timeout((entry.timeout_ns + _BEHIND_NS) / 1e9):
                reply = await self._sends[wire.mode](
                    Outgoing(
                        wire=wire,
                        replica=0,
                        ticket=ticket.entry_ticket(self._round_seed, arrival.number),
                        key=None if distinct is None else str(int(uniform(key, "key") * distinct)),
                        request_bytes=request_bytes,
                        response_bytes=_bytes(entry.response_bytes, key, "response"),
                        timeout_ns=entry.timeout_ns,
                        attempt=0,
                        trace=TraceContext(trace_id, trace_id & (2**64 - 1), arrival.sampled)
                        if trace_id
                        else None,
                    )
                )
                done_ns = self._loop.now_ns
        self._outcomes[arrival.number] = Outcome(
            arrival.number, sent_ns, done_ns, reply.status, request_bytes, reply.response_bytes
        )


class _Door:
    """An entry; its replicas take requests in turn."""

    __slots__ = ("_endpoints", "_turn", "entry")

    def __init__(self, entry: Entry, endpoints: list[Endpoint]) -> None:
        self.entry = entry
        self._endpoints = endpoints
        self._turn = 0

    def next(self) -> tuple[Entry, Endpoint]:
        endpoint = self._endpoints[self._turn]
        self._turn = (self._turn + 1) % len(self._endpoints)
        return self.entry, endpoint


def task_borders(numbered: Topology) -> frozenset[int]:
    """Edges whose calls start a task, so that no task nests more than :data:`HOPS_PER_TASK` hops.

    An operation's depth is its longest way from anywhere; along a chain of calls it rises, so a
    chain cannot stay between two borders for more hops than lie between them.
    """
    depth = dict.fromkeys(numbered.operations, 0)
    waiting = dict.fromkeys(numbered.operations, 0)
    calls: dict[Target, list[tuple[int, Target]]] = {target: [] for target in numbered.operations}
    for wire in numbered.wires:
        if wire.mode == "call":
            callee = Target(wire.callee, wire.operation)
            calls[Target(wire.caller, wire.caller_operation)].append((wire.index, callee))
            waiting[callee] += 1
    ready = [target for target, callers in waiting.items() if not callers]
    borders: set[int] = set()
    while ready:
        caller = ready.pop()
        for _, callee in calls[caller]:
            depth[callee] = max(depth[callee], depth[caller] + 1)
            waiting[callee] -= 1
            if not waiting[callee]:
                ready.append(callee)
    for caller, edges in calls.items():
        for index, callee in edges:
            if depth[caller] // HOPS_PER_TASK != depth[callee] // HOPS_PER_TASK:
                borders.add(index)
    return frozenset(borders)


def _bytes(size: Distribution, key: int, purpose: str) -> int:
    value = size.value if isinstance(size, Constant) else size.at(uniform(key, purpose))
    return max(0, round(value))
