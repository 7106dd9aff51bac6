"""What the steps of one service replica share, and what one request carries through them."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from services import report
from services.behaviour.balance import Balancer, balancer
from services.scenario.model import Limit, Scenario, Target
from services.scenario.model import Protocol as WireProtocol
from services.scenario.steps.calls import Talk
from services.telemetry.port import Fanout, Scope, Telemetry
from services.wire.ports import Cancellable, Clock, Transport, Wire
from services.wire.topology import Topology


class Passage:
    """Counts of requests of one operation over one protocol, which become a
    :class:`services.report.Flow`."""

    __slots__ = ("arrived", "handled", "left")

    def __init__(self) -> None:
        self.arrived: defaultdict[int, int] = defaultdict(int)
        self.left: defaultdict[int, int] = defaultdict(int)
        self.handled: defaultdict[int, int] = defaultdict(int)


@dataclass(slots=True)
class Counters:
    """What one replica counted in its round; ``hopbench.engines.port.ProcessReport`` has them."""

    handled: int = 0
    open_handlers: int = 0
    retries: int = 0
    timeouts: int = 0
    """Attempts that ended so, seen by this replica as a caller."""
    errors: int = 0
    """The same, for errors and broken connections."""
    faults_fired: int = 0
    error_faults: int = 0
    """Those of them that ended a call."""
    failed_groups: int = 0
    """Parallel groups ended by the failure of one member, the others cancelled."""
    flows: dict[tuple[str, WireProtocol], Passage] = field(default_factory=dict)
    """By operation and protocol; from when the round begins."""

    def passage(self, operation: str, protocol: WireProtocol) -> Passage:
        found = self.flows.get((operation, protocol))
        if found is None:
            found = self.flows[operation, protocol] = Passage()
        return found

    def told(self) -> tuple[report.Flow, ...]:
        return tuple(
            report.Flow(operation, protocol, dict(of.arrived), dict(of.left), dict(of.handled))
            for (operation, protocol), of in self.flows.items()
        )


@dataclass(slots=True)
class Answer:
    """What a cache keeps under one key: an answer in flight, and then a good one, or none."""

    landed: asyncio.Event
    good: bool = False
    until_ns: int | None = None


Answers = dict[str, Answer]
"""By the key on the wire."""


@dataclass(slots=True)
class Replica:
    """One replica of one service. ``round_seed`` keys requests that come without a ticket."""

    scenario: Scenario
    service: str
    number: int
    topology: Topology
    clock: Clock
    telemetry: Telemetry
    transports: Mapping[WireProtocol, Transport]
    round_seed: int
    operation: str = ""
    """The one whose steps are being prepared."""
    counters: Counters = field(default_factory=Counters)
    balancers: dict[str, Balancer] = field(default_factory=dict)
    answers: dict[Target, Answers] = field(default_factory=dict)
    """What caches of the whole replica keep, by whom they ask."""
    limits: dict[Limit, asyncio.Semaphore] = field(default_factory=dict)

    def limit(self, of: Limit) -> asyncio.Semaphore:
        """One for all steps that have it."""
        return self.limits.setdefault(of, asyncio.Semaphore(of.max))

    def balancer(self, callee: str) -> Balancer:
        """One for each callee, shared by all edges to it, as a client's pool is."""
        found = self.balancers.get(callee)
        if found is None:
            found = self.balancers[callee] = balancer(self.scenario.services[callee], self.number)
        return found

    def wire_of(self, step: Talk) -> Wire:
        return self.topology.wire_of_step[self.service, self.operation, step.id]


class StepFailed(Exception):
    """The operation ends with an error; the text is for people."""


class DeadlinePassed(Exception):
    """Nothing is left of the request's deadline."""


class Alarm:
    """Cancels the current task after ``ns``, and knows its own cancellations from others'.

    The same counting as :func:`asyncio.timeout`, without a context manager for every call.
    ``close`` must run in any case; ``mine`` says, once, whether a CancelledError was of this
    alarm alone.
    """

    __slots__ = ("_before", "_handle", "_task", "fired")

    def __init__(self, clock: Clock, ns: int) -> None:
        self._task = current_task()
        self._before = self._task.cancelling()
        self.fired = False
        self._handle: Cancellable = clock.call_later(ns, self.fire)

    def fire(self) -> None:
        self.fired = True
        self._task.cancel()

    def close(self) -> bool:
        """Stop; true when the cancellation under way, if any, is this alarm's alone."""
        if self.fired:
            return self._task.uncancel() <= self._before
        self._handle.cancel()
        return False


def current_task() -> asyncio.Task[object]:
    task = asyncio.current_task()
    assert task is not None, "behaviour runs in tasks"
    return task


class Frame:
    """One request being handled: what all steps of its operation share."""

    __slots__ = ("alarm", "answers", "attempt", "deadline_ns", "scope")

    def __init__(self, scope: Scope, attempt: int, deadline_ns: int | None) -> None:
        self.scope = scope
        self.attempt = attempt
        self.deadline_ns = deadline_ns
        self.alarm: Alarm | None = None
        self.answers: dict[Target, Answers] | None = None
        """What caches of this request keep, by whom they ask; made where one needs it."""

    def as_first(self) -> Frame:
        """The same, for draws of what this handler's caller tried once, however often it asks."""
        if self.attempt == 0:
            return self
        first = Frame(self.scope, 0, self.deadline_ns)
        first.alarm = self.alarm
        first.answers = self.answers = {} if self.answers is None else self.answers
        return first

    def answers_of(self, target: Target) -> Answers:
        if self.answers is None:
            self.answers = {}
        return self.answers.setdefault(target, {})

    @property
    def expired(self) -> bool:
        return self.alarm is not None and self.alarm.fired


class Runner(Protocol):
    """A step, prepared for one replica.

    ``keys`` are the keys of the items that the current call carries; once-a-call steps draw under
    the first. ``shift`` is the iteration of the enclosing repeats, composed. ``fanout`` is the
    innermost parallel fan-out, the parent of calls.
    """

    async def run(
        self, frame: Frame, keys: list[int], shift: int, fanout: Fanout | None
    ) -> None: ...
