"""The two ports that behaviour is written against, and the values that cross them.

``Clock`` is time and CPU; ``Transport`` and ``Listener`` are the two ends of the wire. With the
wall clock and real transports a service is a microservice; with the virtual clock and the memory
transport the same behaviour is a discrete-event simulation.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from services.scenario import names
from services.scenario.model import Edge, KafkaOptions, Mode, Where
from services.scenario.model import Protocol as WireProtocol


class Status(enum.IntEnum):
    """How a call ended. The order is that of the wire form and must not change."""

    OK = 0
    ERROR = 1
    """The callee answered with an error."""
    TIMEOUT = 2
    """The deadline passed, seen by either side."""
    UNAVAILABLE = 3
    """No connection, or it broke."""
    CANCELLED = 4
    """The caller gave up: a parent failed, or a hedge was lost."""


class TraceContext(NamedTuple):
    """W3C trace context, as integers: 128-bit trace id, 64-bit span id."""

    trace_id: int
    span_id: int
    sampled: bool


class Reply(NamedTuple):
    status: Status
    response_bytes: int
    detail: str = ""
    """For people, empty when all is well."""


@dataclass(frozen=True, slots=True)
class Wire:
    """What never changes about one edge, prepared once: names, index and options.

    ``index`` is the edge's place in :class:`Topology`'s edge table; telemetry keeps per-edge state
    in lists by it.
    """

    index: int
    caller: str
    caller_operation: str
    callee: str
    operation: str
    protocol: WireProtocol
    mode: Mode
    kafka: KafkaOptions

    @property
    def http_path(self) -> str:
        return names.http_path(self.operation)

    @property
    def grpc_method(self) -> str:
        return names.grpc_method(self.callee, self.operation)

    @property
    def topic(self) -> str:
        return names.topic(self.callee, self.operation)


@dataclass(slots=True)
class Outgoing:
    """One attempt of one call, or one message, as a transport sends it."""

    wire: Wire
    replica: int
    """Chosen by the caller's balancer; Kafka ignores it, consumers share the topic."""
    ticket: str
    """Chance's key and the items carried, opaque to transports (services/wire/ticket.py)."""
    key: str | None
    """The application's key: path segment, message field, Kafka key."""
    request_bytes: int
    response_bytes: int
    """How many bytes the callee is asked to answer with."""
    timeout_ns: int | None
    """What is left of the deadline; sent downstream, and kept by the caller itself."""
    attempt: int
    trace: TraceContext | None
    """Written to the wire as ``traceparent``; None when an instrumentation writes its own."""


@dataclass(slots=True)
class Incoming:
    """One call or message, as a listener hands it to the handler."""

    service: str
    operation: str
    protocol: WireProtocol
    mode: Mode
    ticket: str
    key: str | None
    request_bytes: int
    response_bytes: int
    timeout_ns: int | None
    attempt: int
    trace: TraceContext | None
    """The caller's span; None when no ``traceparent`` came."""
    received_ns: int
    """Monotonic, when it arrived here."""
    peer: str = ""
    """The caller as ``service/replica`` where the wire says so, else empty."""
    held_ns: int = 0
    """How long the listener then made it wait for its turn."""


Handler = Callable[[Incoming], Awaitable[Reply]]
"""Never raises but CancelledError; an error is a Reply with its status.

UNAVAILABLE is no answer at all: the listener resets the call. HTTP cuts the connection, gRPC ends
the stream with UNAVAILABLE, over Kafka no reply is sent and the caller waits for its timeout."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where one replica listens."""

    host: str
    ports: Mapping[WireProtocol, int]
    """By protocol; consumers of Kafka have none."""


Directory = Mapping[str, tuple[Address, ...]]
"""service → addresses by replica number."""


class Cancellable(Protocol):
    def cancel(self) -> None: ...


class Clock(Protocol):
    """Time for behaviour. All times are monotonic nanoseconds of one clock."""

    kind: Literal["wall", "virtual"]

    def now_ns(self) -> int: ...

    async def sleep(self, ns: int) -> None:
        """Wait at least ``ns``, and as little longer as the platform can."""
        ...

    async def cpu(self, ns: int, where: Where) -> None:
        """Use ``ns`` of thread CPU time; on the loop it blocks everyone, as real code does."""
        ...

    async def pause(self, ns: int) -> None:
        """Stand still for ``ns``, with everything else of this process, and use no CPU."""
        ...

    def call_later(self, ns: int, callback: Callable[[], object]) -> Cancellable:
        """Run ``callback`` on the loop no earlier than in ``ns``; for deadlines, not for waits.

        Cheap to cancel, which is what nearly always happens, and as coarse as the loop's timers.
        """
        ...


class Transport(Protocol):
    """The caller's side of one wire protocol, in one process."""

    async def connect(self, directory: Directory) -> None:
        """Open connections to every callee of this process, before the first request."""
        ...

    async def call(self, out: Outgoing) -> Reply:
        """Send and wait for the answer; cancelling the task cancels the call on the wire.

        Never raises but CancelledError: failures are replies with a status. The caller enforces
        ``timeout_ns`` itself as well, so a transport need not.
        """
        ...

    async def publish(self, out: Outgoing) -> Reply:
        """Send a message and return when it is acknowledged (``acks`` permitting)."""
        ...

    async def close(self) -> None: ...


class Listener(Protocol):
    """The callee's side of one wire protocol, in one process."""

    async def start(self, handler: Handler) -> int | None:
        """Listen, on a free port where the protocol has one, and return the port."""
        ...

    async def stop(self, grace_ns: int) -> None:
        """Refuse new calls, let those under way end, then cut what is left."""
        ...


def wire_of(index: int, caller: str, caller_operation: str, edge: Edge) -> Wire:
    return Wire(
        index=index,
        caller=caller,
        caller_operation=caller_operation,
        callee=edge.target.service,
        operation=edge.target.operation,
        protocol=edge.protocol,
        mode=edge.mode,
        kafka=edge.kafka,
    )
