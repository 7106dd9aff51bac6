"""One replica of a service: the handler that every listener shares."""

from __future__ import annotations

import asyncio
from asyncio import CancelledError
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Final

from services.behaviour.edges import CANCELLED, TIMED_OUT
from services.behaviour.faults import faults_of, latency_ns, strikes
from services.behaviour.replica import (
    Alarm,
    Counters,
    DeadlinePassed,
    Frame,
    Replica,
    Runner,
    StepFailed,
)
from services.behaviour.steps import hangs_on_items, prepare
from services.scenario.model import Fault, Scenario
from services.scenario.model import Protocol as WireProtocol
from services.slots import Slots
from services.telemetry.port import Scope, Telemetry
from services.wire import ticket
from services.wire.ports import Clock, Incoming, Reply, Status, Transport
from services.wire.topology import Topology

_NANO: Final = 1_000_000_000
_ANY_ITEM: Final = [0]
"""For operations that cost the same whatever they carry; nobody may change it."""


class Behaviour:
    """What one replica of one service does with what comes in.

    ``scenario`` is the variant's, with its refactors applied, and ``topology`` its numbering.
    ``transports`` needs the protocols of this service's own edges only. ``round_seed`` keys
    requests that come without a ticket. :meth:`handle` is a ``services.wire.ports.Handler``.
    """

    __slots__ = (
        "_clock",
        "_faults",
        "_keyed",
        "_measured_from_ns",
        "_operations",
        "_pausing",
        "_prepared",
        "_replica",
        "_slots",
        "_telemetry",
        "_unticketed",
        "counters",
    )

    def __init__(
        self,
        scenario: Scenario,
        service: str,
        replica: int,
        *,
        topology: Topology,
        clock: Clock,
        telemetry: Telemetry,
        transports: Mapping[WireProtocol, Transport],
        round_seed: int,
        counters: Counters | None = None,
    ) -> None:
        self.counters = counters if counters is not None else Counters()
        self._replica = Replica(
            scenario=scenario,
            service=service,
            number=replica,
            topology=topology,
            clock=clock,
            telemetry=telemetry,
            transports=transports,
            round_seed=round_seed,
            counters=self.counters,
        )
        self._clock = clock
        self._telemetry = telemetry
        self._operations = scenario.services[service].operations
        self._prepared: dict[str, Runner] = {}
        self._keyed: set[str] = set()
        self._faults = faults_of(scenario, service, replica)
        limit = scenario.services[service].max_concurrent
        self._slots = None if limit is None else Slots(limit)
        self._measured_from_ns: int | None = None
        self._unticketed = 0
        self._pausing: set[asyncio.Task[None]] = set()

    def begin(self, start_ns: int, measured_from_ns: int) -> None:
        """The round begins: both on this clock; faults are timed from ``measured_from_ns``."""
        self._measured_from_ns = measured_from_ns
        for fault in () if self._faults is None else self._faults.pauses:
            at_ns = start_ns if fault.from_ns is None else measured_from_ns + fault.from_ns
            self._clock.call_later(at_ns - self._clock.now_ns(), partial(self._pause, fault))

    def _pause(self, fault: Fault) -> None:
        assert fault.pause_ns is not None
        self.counters.faults_fired += 1
        pause = asyncio.get_running_loop().create_task(self._clock.pause(fault.pause_ns))
        # The loop keeps no task alive; one that is forgotten may end before its time.
        self._pausing.add(pause)
        pause.add_done_callback(self._pausing.discard)

    async def handle(self, incoming: Incoming) -> Reply:
        """Run the operation. Never raises but CancelledError."""
        steps = self._prepared.get(incoming.operation)
        if steps is None:
            steps = self._prepare(incoming.operation)
            if steps is None:
                return Reply(Status.ERROR, 0, f"no operation {incoming.operation}")
        counters = self.counters
        counters.open_handlers += 1
        scope = self._telemetry.server_begin(incoming)
        # A message that nobody waits for has no deadline.
        timeout_ns = incoming.timeout_ns if incoming.mode == "call" else None
        if timeout_ns is None:
            frame = Frame(scope, incoming.attempt, None)
            alarm = None
        else:
            frame = Frame(scope, incoming.attempt, incoming.received_ns + timeout_ns)
            left_ns = incoming.received_ns + timeout_ns - self._clock.now_ns()
            alarm = frame.alarm = Alarm(self._clock, max(left_ns, 0))
        reply = CANCELLED
        try:
            reply = await self._run(frame, incoming, steps)
        except StepFailed as failed:
            reply = Reply(Status.ERROR, 0, str(failed))
        except DeadlinePassed:
            reply = TIMED_OUT
        except CancelledError:
            if alarm is None:
                raise
            if alarm.fired:
                reply = TIMED_OUT
            mine, alarm = alarm.close(), None
            if not mine:
                raise
        finally:
            if alarm is not None:
                alarm.close()
            counters.open_handlers -= 1
            counters.handled += 1
            self._telemetry.server_end(scope, reply)
        return reply

    async def _run(self, frame: Frame, incoming: Incoming, steps: Runner) -> Reply:
        keys = self._keys(incoming) if incoming.operation in self._keyed else _ANY_ITEM
        slots, scope = self._slots, frame.scope
        origin_ns = self._measured_from_ns
        passage = None
        if origin_ns is not None:
            passage = self.counters.passage(incoming.operation, incoming.protocol)
            passage.arrived[(incoming.received_ns - origin_ns) // _NANO] += 1
        try:
            if slots is not None:
                await self._take(slots, scope)
        finally:
            if passage is not None and origin_ns is not None:
                left_ns = incoming.received_ns + scope.queue_ns
                passage.left[(left_ns - origin_ns) // _NANO] += 1
        finished = False
        try:
            reply = None if self._faults is None else await self._disturb(incoming, keys)
            if reply is None:
                await steps.run(frame, keys, 0, None)
            finished = True
        except StepFailed:
            finished = True
            raise
        finally:
            if slots is not None:
                slots.give()
            if finished and passage is not None and origin_ns is not None:
                passage.handled[(self._clock.now_ns() - origin_ns) // _NANO] += 1
        return Reply(Status.OK, incoming.response_bytes) if reply is None else reply

    async def _take(self, slots: Slots, scope: Scope) -> None:
        """A slot for the request, and what it waited for one."""
        if slots.free:
            await slots.take()
            return
        since_ns = self._clock.now_ns()
        try:
            await slots.take()
        finally:
            scope.queue_ns += self._clock.now_ns() - since_ns

    def _prepare(self, operation: str) -> Runner | None:
        found = self._operations.get(operation)
        if found is None:
            return None
        steps = self._prepared[operation] = prepare(
            replace(self._replica, operation=operation), found.steps
        )
        if self._faults is not None or hangs_on_items(found.steps):
            self._keyed.add(operation)
        return steps

    def _keys(self, incoming: Incoming) -> list[int]:
        try:
            return ticket.item_keys(incoming.ticket)
        except ValueError:
            # Somebody calls by hand: a request of its own, as good as any other.
            self._unticketed += 1
            return ticket.item_keys(ticket.entry_ticket(self._replica.round_seed, self._unticketed))

    async def _disturb(self, incoming: Incoming, keys: list[int]) -> Reply | None:
        """Let the faults in force have their way; a reply where one ends the call."""
        assert self._faults is not None
        now_ns = self._clock.now_ns()
        for fault in self._faults.at(incoming, now_ns, self._measured_from_ns):
            if not strikes(fault, keys[0], incoming.attempt):
                continue
            self.counters.faults_fired += 1
            if fault.kind != "latency":
                self.counters.error_faults += 1
                status = Status.ERROR if fault.kind == "error" else Status.UNAVAILABLE
                return Reply(status, 0, f"fault {fault.id}")
            await self._clock.sleep(latency_ns(fault, keys[0], incoming.attempt))
        return None
