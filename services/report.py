"""What a process says of its round: counted by the process, judged by the bench."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from services.doubts import Doubt


@dataclass(frozen=True, slots=True)
class Spread:
    """Quantiles of ``n`` values in ns; None where there is none."""

    n: int = 0
    p50: int | None = None
    p99: int | None = None
    max: int | None = None


@dataclass(frozen=True, slots=True)
class Collections:
    """Those of the garbage collector: how many, and the time that the process stood still for
    them."""

    count: int = 0
    total_ns: int = 0
    max_ns: int = 0


@dataclass(frozen=True, slots=True)
class Gap:
    """A time without a broker, Unix ns; ``to_ns`` is None where it had not ended."""

    from_ns: int
    to_ns: int | None


BySecond = Mapping[int, int]
"""Counts by second since the measured phase began; warm-up is below 0."""


@dataclass(frozen=True, slots=True)
class Flow:
    """Requests of one operation over one protocol, as they passed through one replica."""

    operation: str
    protocol: str
    arrived: BySecond
    """Over Kafka those alone whose turn came: of the others only producers know
    (:attr:`Messages.produced_in`)."""
    left: BySecond
    """Left the queue: a worker took them, or they were given up there."""
    handled: BySecond
    """A worker took them and came to the end, good or bad, within the deadline."""


@dataclass(frozen=True, slots=True)
class Messages:
    """Kafka messages of one process, by topic."""

    produced: Mapping[str, int] = field(default_factory=dict)
    """Acknowledged, or sent without asking for it."""
    consumed: Mapping[str, int] = field(default_factory=dict)
    redelivered: Mapping[str, int] = field(default_factory=dict)
    """Those that came a second time; not handled again, nor in ``consumed``."""
    unacknowledged: Mapping[str, int] = field(default_factory=dict)
    """Those of ``produced`` that asked for no acknowledgement, and may be lost with a broker."""
    gaps: tuple[Gap, ...] = ()
    produced_in: Mapping[str, BySecond] = field(default_factory=dict)
    """Of ``produced``, those that were sent since the round was begun."""


@dataclass(frozen=True, slots=True)
class SenderReport:
    """Of a process of the generator's that sends to entries over Kafka."""

    service: str
    replica: int
    """Of the worker that it belongs to, from 0."""
    pid: int
    messages: Messages
    doubts: tuple[Doubt, ...] = ()


@dataclass(frozen=True, slots=True)
class ProcessReport:
    """Of one replica of a service, at the end of its round or before.

    Where several share a process, ``cpu_ns`` and the clock's doubts are in the first one's alone.
    """

    service: str
    replica: int
    pid: int
    handled: int
    open_handlers: int
    spans_ended: int
    """Spans of sampled requests that ended: what the collector must have received."""
    retries: int
    timeouts: int
    errors: int
    """Attempts that ended so, seen by this process as a caller."""
    faults_fired: int
    cpu_ns: int
    messages: Messages = Messages()
    sleep_bias_ns: Spread = Spread()
    """How much longer simulated waits took than asked."""
    cpu_bias_ns: Spread = Spread()
    """How much more CPU time simulated work took than asked."""
    loop_lag_ns: Spread = Spread()
    """How late a heartbeat came."""
    collections: Collections = Collections()
    doubts: tuple[Doubt, ...] = ()
    flows: tuple[Flow, ...] = ()
