"""The scenario: frozen values for topology, behaviour, load, faults and variants.

Invariants, checked by :mod:`services.scenario.file.validation` and relied on everywhere else:

- every target names a service and an operation that exist;
- synchronous calls form no cycle;
- step ids are unique within a scenario, but for those of a callee that is merged at its callers;
  every ``after`` names an earlier step of the same sequence;
- counts, batches and replicas are at least 1, weights are positive, probabilities lie in 0..1;
- times are integer nanoseconds, sizes are bytes, rates are per second.

Zero is a value like any other; what was not given is ``None``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from services.scenario.distributions import Distribution
from services.scenario.pace import Pace

Protocol = str
"""A name in :data:`services.scenario.protocols.PROTOCOLS`."""
Mode = Literal["call", "publish"]
Where = Literal["loop", "thread", "process"]
"""Where CPU time is spent."""


@dataclass(frozen=True, slots=True, order=True)
class Target:
    """An operation of a service, written ``service.operation``."""

    service: str
    operation: str

    def __str__(self) -> str:
        return f"{self.service}.{self.operation}"


@dataclass(frozen=True, slots=True)
class Retry:
    """Further attempts after a failed one.

    ``max`` counts attempts after the first. The wait before attempt k (k = 1 is the first retry)
    is ``backoff_ns * 2**(k-1)``, of which the share ``jitter`` (0..1) is random. ``budget`` bounds
    retries to that share of the calls of this edge in this process; None is no bound.
    """

    max: int
    backoff_ns: int
    jitter: float
    budget: float | None


@dataclass(frozen=True, slots=True)
class HedgePolicy:
    """A second attempt at another replica after ``after_ns``, or after the observed P95 (None)."""

    after_ns: int | None


@dataclass(frozen=True, slots=True)
class CachePolicy:
    """Answers are kept by key, for the request or as long as the caller's replica lives, and used
    for ``ttl_ns`` (None: always)."""

    scope: Literal["request", "process"]
    ttl_ns: int | None


@dataclass(frozen=True, slots=True)
class Limit:
    """At most ``max`` attempts in flight from one replica of the caller, over all steps that have
    the same limit. ``edge`` is what it was asked for."""

    edge: EdgeRef
    max: int


@dataclass(frozen=True, slots=True)
class OnErrorFail:
    """The caller's operation fails with the call."""


@dataclass(frozen=True, slots=True)
class OnErrorIgnore:
    """The caller goes on as if the call had succeeded."""


@dataclass(frozen=True, slots=True)
class OnErrorFallback:
    """These steps run instead."""

    steps: Steps


OnError = OnErrorFail | OnErrorIgnore | OnErrorFallback


@dataclass(frozen=True, slots=True)
class KafkaOptions:
    """What an edge asks of broker, producer and consumer; ignored by other protocols."""

    partitions: int
    acks: Literal["0", "1", "all"]
    linger_ns: int
    ordering: Ordering = "none"


Ordering = Literal["none", "partition"]
"""Whether the messages of a partition are handled as they come, or one after another."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where ``count`` consecutive items of an edge come from: the step that named them first.

    Refactors that join steps keep the origins, so that every item makes the same choices before
    and after.
    """

    step: str
    count: int


@dataclass(frozen=True, slots=True)
class Edge:
    """What one call or publish step sends.

    ``ceil(count / batch)`` calls carry ``count`` items, at most ``max_parallel`` at once (1 is one
    after another; None is all at once). Each item takes part with ``probability``. Sizes are
    bytes an item. ``key_distinct`` draws a key in 0..N-1 for each item and puts it on the wire.
    """

    target: Target
    protocol: Protocol
    mode: Mode
    count: int
    batch: int
    max_parallel: int | None
    probability: float
    request_bytes: Distribution
    response_bytes: Distribution
    key_distinct: int | None
    timeout_ns: int | None
    retry: Retry | None
    hedge: HedgePolicy | None
    on_error: OnError
    kafka: KafkaOptions
    origins: tuple[Origin, ...]
    """Never empty; the counts add up to ``count``."""
    cache: CachePolicy | None = None
    """Of the answers, at the caller; operators alone give one."""
    limits: tuple[Limit, ...] = ()
    """All hold; operators alone give any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that an operation does. Each kind is a class of its own
    (services/scenario/steps), and overrides what does not hold for it."""

    id: str
    after: tuple[str, ...] = ()
    per_item: bool = False
    """Run once for every item that the call carries, not once a call."""

    @property
    def blocks(self) -> tuple[Steps, ...]:
        """The lists of steps directly below: a body, the options of a choice, a fallback."""
        return ()

    def with_blocks(self, blocks: tuple[Steps, ...]) -> Step:
        """The same with as many other lists below."""
        return self

    @property
    def shares(self) -> tuple[float, ...]:
        """How often each of the blocks runs when the step runs once, on average."""
        return (1.0,) * len(self.blocks)

    @property
    def at_once(self) -> int | None:
        """How many steps of a block run at the same time; None: all of them."""
        return 1

    @property
    def one_of(self) -> bool:
        """Whether one block alone runs, and not all of them."""
        return False

    @property
    def cpu_ns(self) -> tuple[float, float]:
        """CPU time of its own, on average: once, and for each item carried."""
        return 0.0, 0.0

    @property
    def time_ns(self) -> tuple[float, float]:
        """Time that passes in the step itself, its CPU time included."""
        return self.cpu_ns

    @property
    def draws(self) -> bool:
        """Whether it draws, calls, or costs by the item: it then needs the keys of the items."""
        return True

    @property
    def fails(self) -> bool:
        """Whether it can end its operation with an error all by itself."""
        return False

    @property
    def wrong(self) -> str | None:
        """What its own figures may not be."""
        return None


Steps = tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Operation:
    name: str
    steps: Steps


Balance = Literal["round_robin", "random", "least_pending"]


@dataclass(frozen=True, slots=True)
class Service:
    """``max_concurrent`` bounds the requests that one replica handles at once; None is no bound."""

    name: str
    replicas: int
    balance: Balance
    max_concurrent: int | None
    operations: Mapping[str, Operation]


@dataclass(frozen=True, slots=True)
class Entry:
    """Where requests come in. One of mode ``publish`` is a message without an answer: its request
    ends when the broker has it."""

    target: Target
    protocol: Protocol
    weight: float
    request_bytes: Distribution
    response_bytes: Distribution
    key_distinct: int | None
    timeout_ns: int
    mode: Mode = "call"


@dataclass(frozen=True, slots=True)
class Load:
    """What comes in, over all entries.

    ``max_in_flight`` bounds the requests in flight at the generator; what comes above is dropped
    and counted.
    """

    pace: Pace
    duration_ns: int
    warmup_ns: int
    max_in_flight: int
    entries: tuple[Entry, ...]

    @property
    def length_ns(self) -> int:
        return self.warmup_ns + self.duration_ns

    @property
    def requests(self) -> float:
        """Of a round, on average; of a closed load those that are made ready."""
        return self.pace.requests(self.warmup_ns, self.duration_ns)


@dataclass(frozen=True, slots=True)
class FaultScope:
    """Every field that is given must match; ``caller``/``caller_operation`` come from an edge."""

    service: str | None
    operation: str | None
    replica: int | None
    caller: str | None
    caller_operation: str | None


FaultKind = Literal["latency", "error", "reset", "pause"]


@dataclass(frozen=True, slots=True)
class Fault:
    """A timed, scoped disturbance on the callee's side.

    ``latency`` is added before the handler runs; ``error`` ends the call with an error and
    ``reset`` without an answer, each with ``probability``; ``pause`` makes a replica stand still
    once. ``from_ns``/``to_ns`` count from the start of the measured phase; None is from the first
    arrival, or to the end.
    """

    id: str
    kind: FaultKind
    scope: FaultScope
    latency: Distribution | None
    pause_ns: int | None
    probability: float
    from_ns: int | None
    to_ns: int | None


@dataclass(frozen=True, slots=True)
class EdgeRef:
    """``caller->callee.operation`` or ``caller.operation->callee.operation``."""

    caller: str
    caller_operation: str | None
    callee: str
    operation: str

    def __str__(self) -> str:
        caller = (
            self.caller
            if self.caller_operation is None
            else f"{self.caller}.{self.caller_operation}"
        )
        return f"{caller}->{self.callee}.{self.operation}"


class Refactor:
    """A change to a scenario; each operator has its own (services/scenario/refactors)."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Expectation:
    """A planted finding: its kind, and those keys of ``where`` that must be equal."""

    kind: str
    where: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Variant:
    """``expectations`` None keeps those of the base."""

    name: str
    description: str
    refactors: tuple[Refactor, ...]
    expectations: tuple[Expectation, ...] | None


@dataclass(frozen=True, slots=True)
class Scenario:
    name: str
    description: str
    seed: int
    services: Mapping[str, Service]
    load: Load
    faults: tuple[Fault, ...]
    variants: Mapping[str, Variant]
    """In file order; never holds ``baseline``, which is the base itself."""
    expectations: tuple[Expectation, ...]
    processes: int | None = None
    """Into how many processes the replicas are packed (packing.py); None: one for each."""
