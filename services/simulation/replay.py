"""How many spans a round must have produced: its sampled requests, made once more in virtual time.

Every choice hangs on the request's number and the round's seed alone (chance.py), so the replay
takes the ways that the round took. Where what happens depends on time as well, no number is
honest, and the reason is given instead.

Spans of a hop, under both instrumentations: CLIENT and SERVER, or PRODUCER and CONSUMER; the entry
has its SERVER span alone; a parallel fan-out has one INTERNAL span. ``official`` opens a second
span (INTERNAL, ``call.<service>.<operation>``) around each call of a fan-out that an
instrumentation traces, one more where a message of any mode is sent over Kafka, and one where it is
received.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Literal, NamedTuple

from services.scenario.model import CachePolicy, Scenario
from services.scenario.steps.calls import Call
from services.scenario.tree import walk
from services.simulation.round import Arrival, SimulationResult, simulate
from services.telemetry.conventions import INSTRUMENTED
from services.telemetry.port import Attempt, Fanout, Scope
from services.wire.ports import Incoming, Outgoing, Reply, Status, TraceContext, Wire


class Expected(NamedTuple):
    """``spans`` is None where the number hangs on time; ``reason`` then says why, else is empty."""

    spans: int | None
    reason: str


class SpanCount:
    """Telemetry that counts spans and keeps nothing else of them."""

    __slots__ = ("attempts", "broken", "calls_in_fanout", "fanouts", "received", "sent", "served")

    def __init__(self) -> None:
        self.served = 0
        self.attempts = 0
        self.fanouts = 0
        self.calls_in_fanout = 0
        """Of those that an instrumentation traces."""
        self.sent = 0
        """Of the attempts, over Kafka."""
        self.received = 0
        """Of the served, over Kafka."""
        self.broken = 0
        """Attempts that timed out, were cancelled, or found nobody."""

    def server_begin(self, incoming: Incoming) -> Scope:
        self.served += 1
        self.received += incoming.protocol == "kafka"
        return Scope(incoming.trace or _UNSAMPLED, incoming, incoming.received_ns)

    def server_end(self, scope: Scope, reply: Reply) -> None:
        """Counted when it began."""

    def fanout_begin(self, scope: Scope, parent: TraceContext) -> Fanout:
        self.fanouts += 1
        return Fanout(parent, parent, 0)

    def fanout_end(self, scope: Scope, fanout: Fanout) -> None:
        """Counted when it began."""

    def attempt_begin(self, wire: Wire, parent: TraceContext, *, fanout: bool) -> Attempt:
        self.attempts += 1
        self.sent += wire.protocol == "kafka"
        self.calls_in_fanout += fanout and wire.protocol in INSTRUMENTED
        return Attempt(wire, parent, parent, 0, fanout)

    def attempt_end(self, attempt: Attempt, out: Outgoing, items: int, reply: Reply) -> None:
        if reply.status not in (Status.OK, Status.ERROR):
            self.broken += 1


_UNSAMPLED = TraceContext(0, 0, False)
_OF_REQUESTS = (None, CachePolicy("request", None))
"""Caches whose hits hang on the request alone."""


def expected_spans(
    scenario: Scenario,
    round_seed: int,
    arrivals: Iterable[Arrival],
    instrumentation: Literal["lean", "official"],
    *,
    measured_from_ns: int = 0,
) -> Expected:
    """Spans of the sampled ones among ``arrivals``, in a round where each of them was sent.

    ``scenario`` is the variant's. Times are of one clock, any zero; ``measured_from_ns`` matters
    for timed faults alone. A round in which timeouts or retries fired by accident produced other
    spans than these: whoever compares must look at the round's own counters, too.
    """
    sampled = sorted((a for a in arrivals if a.sampled), key=lambda a: a.intended_ns)
    if not sampled:
        return Expected(0, "")
    # Those given were sent: nothing may be dropped for being many at once.
    unbounded = replace(scenario, load=replace(scenario.load, max_in_flight=len(sampled)))
    result = simulate(
        unbounded,
        round_seed,
        sampled,
        measured_from_ns,
        lambda service, replica, numbered, clock: SpanCount(),
        start_ns=min(0, sampled[0].intended_ns),
    )
    reason = _why_not(scenario, result)
    if reason:
        return Expected(None, reason)
    counts = [replica.telemetry for replica in result.replicas]
    spans = sum(c.served + c.attempts + c.fanouts for c in counts)
    if instrumentation == "official":
        spans += sum(c.calls_in_fanout + c.sent + c.received for c in counts)
    return Expected(spans, "")


def _why_not(scenario: Scenario, result: SimulationResult[SpanCount]) -> str:
    """What made the number of spans a matter of time; empty where nothing did."""
    counters = [replica.counters for replica in result.replicas]
    if any(c.timeouts for c in counters) or any(
        outcome.status is Status.TIMEOUT for outcome in result.outcomes
    ):
        return "timeouts fired"
    if any(c.retries for c in counters):
        return "retries fired"
    if any(c.error_faults for c in counters):
        return "error faults fired"
    if any(c.failed_groups for c in counters):
        return "failures cancelled calls beside them"
    if any(replica.telemetry.broken for replica in result.replicas):
        return "calls were cancelled"
    used = {
        (replica.service, replica.replica)
        for replica in result.replicas
        if replica.counters.handled
    }
    for service in scenario.services.values():
        if not any((service.name, number) in used for number in range(service.replicas)):
            continue
        for operation in service.operations.values():
            for step in walk(operation.steps):
                if isinstance(step, Call) and step.edge.hedge is not None:
                    return f"{step.id} is hedged, and how often hangs on time"
                if isinstance(step, Call) and step.edge.cache not in _OF_REQUESTS:
                    return f"{step.id} is cached over time"
    return ""
