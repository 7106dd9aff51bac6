"""Where a transport or a listener stands: everything its constructor needs, in one value."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

from services import report
from services.doubts import Code, Doubt
from services.report import Messages
from services.scenario.model import Protocol as WireProtocol
from services.wire.ports import Wire
from services.wire.topology import Topology

BrokerKind = Literal["embedded", "kafka"]

WARM_CONNECTIONS: Final = 8
PACKED_CONNECTIONS: Final = 1
"""The same where services share a process: a thousand services would need more descriptors than
one has, and a call that finds none open opens one."""
GRPC_CHANNELS: Final = 1
"""One event loop gains nothing from a second: benchmarks/transports.py."""


@dataclass(frozen=True, slots=True)
class Broker:
    """A Kafka broker: ``address`` is ``HOST:PORT``; ``kind`` tells what may be expected of it."""

    address: str
    kind: BrokerKind


@dataclass(slots=True)
class Gap:
    """A time without a broker, CLOCK_MONOTONIC; ``to_ns`` is None while it lasts."""

    from_ns: int
    to_ns: int | None = None


@dataclass(slots=True)
class Counters:
    """What the transports of one process count and doubt; shared by all of them, never reset.

    ``produced`` and ``consumed`` are Kafka messages by topic, reply topics included. A message
    counts as produced when it is handed to the producer and is taken back when it is known not to
    have arrived, so that one under way keeps the two sides apart until it is consumed.
    """

    origin_ns: int | None = None
    """When the measured phase begins, on the clock of the process; None before the round is
    begun."""
    produced: Counter[str] = field(default_factory=Counter)
    produced_in: dict[str, Counter[int]] = field(default_factory=dict)
    """By second from ``origin_ns``."""
    consumed: Counter[str] = field(default_factory=Counter)
    redelivered: Counter[str] = field(default_factory=Counter)
    """Messages by topic that came once more to the same process; in no other count."""
    unacknowledged: Counter[str] = field(default_factory=Counter)
    """Those of ``produced`` that asked a real broker for no acknowledgement, and may be lost."""
    gaps: list[Gap] = field(default_factory=list)
    """As every connection that watches the broker saw them, so the same gap may be here twice."""
    doubts: dict[Doubt, None] = field(default_factory=dict)
    """In the order raised, each once."""

    def produce(self, topic: str, now_ns: int) -> int | None:
        """Count a message; what :meth:`take_back` needs to know of it."""
        self.produced[topic] += 1
        if self.origin_ns is None:
            return None
        second = (now_ns - self.origin_ns) // 1_000_000_000
        self.produced_in.setdefault(topic, Counter())[second] += 1
        return second

    def take_back(self, topic: str, second: int | None) -> None:
        self.produced[topic] -= 1
        if second is not None:
            self.produced_in[topic][second] -= 1

    def doubt(self, code: Code, text: str) -> None:
        self.doubts[Doubt(code, text)] = None

    def messages(self, unix_offset_ns: int) -> Messages:
        """What was counted so far. ``unix_offset_ns`` added to a monotonic time is Unix time."""
        return Messages(
            produced=dict(self.produced),
            produced_in={topic: dict(of) for topic, of in self.produced_in.items()},
            consumed=dict(self.consumed),
            redelivered=dict(self.redelivered),
            unacknowledged=dict(self.unacknowledged),
            gaps=tuple(
                report.Gap(
                    gap.from_ns + unix_offset_ns,
                    None if gap.to_ns is None else gap.to_ns + unix_offset_ns,
                )
                for gap in self.gaps
            ),
        )


class Send(Protocol):
    """Stands in for ``AIOKafkaProducer.send`` of the producer given first."""

    def __call__(
        self,
        producer: Any,
        topic: str,
        value: bytes,
        *,
        key: bytes | None,
        partition: int,
        headers: list[tuple[str, bytes]],
    ) -> Awaitable[asyncio.Future[Any]]: ...


@dataclass(frozen=True, slots=True)
class KafkaHooks:
    """Around what leaves for a callee and what arrives from a caller; replies go without."""

    send: Send
    getone: Callable[[Any], Awaitable[Any]]
    """Stands in for ``AIOKafkaConsumer.getone`` of the consumer given."""


@dataclass(frozen=True, slots=True)
class Hooks:
    """What an instrumentation library hangs into clients and servers; all empty under ``lean``.

    They are handed over as values, so that nothing needs to be patched.
    """

    aiohttp_middlewares: tuple[Any, ...] = ()
    aiohttp_trace_configs: tuple[Any, ...] = ()
    grpc_client_interceptors: tuple[Any, ...] = ()
    grpc_server_interceptors: tuple[Any, ...] = ()
    kafka: KafkaHooks | None = None


@dataclass(frozen=True, slots=True)
class Site:
    """One replica of one service, as its transports see it."""

    service: str
    replica: int
    """From 0."""
    replicas: int
    """Of this service: Kafka's partitions are shared out by it."""
    topology: Topology
    counters: Counters
    broker: Broker | None = None
    """None where no edge of this service needs one."""
    round: str = ""
    """Names the round: Kafka's topics outlive it, and what another round sent is left alone."""
    hooks: Hooks = Hooks()
    host: str = "127.0.0.1"
    """Where listeners bind."""
    warm_connections: int = WARM_CONNECTIONS
    """HTTP connections opened to each replica of each callee before the first request."""
    grpc_channels: int = GRPC_CHANNELS
    """Channels, each a connection of its own, to each replica of each callee."""

    @property
    def peer(self) -> str:
        return f"{self.service}/{self.replica}"

    def outgoing(self, protocol: WireProtocol) -> Iterator[Wire]:
        """The edges that start here."""
        return (
            wire
            for wire in self.topology.leaving.get(self.service, ())
            if wire.protocol == protocol
        )

    def incoming(self, protocol: WireProtocol) -> Iterator[Wire]:
        """The edges that end here."""
        return (
            wire
            for wire in self.topology.arriving.get(self.service, ())
            if wire.protocol == protocol
        )

    def operations(self) -> tuple[str, ...]:
        """All operations of this service, called or not."""
        return self.topology.served.get(self.service, ())
