"""The call tree of a variant, from the edges of its trials."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from analysis.findings.settings import Settings
from analysis.rows.edges import EdgeRow
from analysis.rows.services import ServiceRow

BROKERS: Mapping[str | None, str] = {
    "embedded": "embedded broker",
    "kafka": "real broker",
    "memory": "simulated broker",
}
"""What carried Kafka's messages: no figure of one stands for another."""
_QUEUED: Final = 0.1
"""Of what it is a part of: a wait is told from here on."""
_RATIO: Final = Settings().straggler_ratio
MAX_DEPTH = 64
"""Deeper than any call graph a person reads, and far from the interpreter's recursion limit."""


@dataclass(frozen=True, slots=True)
class SlowOne:
    """The one replica of an edge that is slow, and the middle of the others; ms at P50."""

    instance: str
    p50: float
    others: float


@dataclass(frozen=True, slots=True)
class EdgeView:
    """One edge over the rounds of a variant: medians of what each round measured.

    ``calls_per_request`` is their mean, a traced round without a call included; times in ms, sizes
    in bytes, None where not identifiable.
    """

    caller: str
    caller_operation: str
    callee: str
    operation: str
    protocol: str
    """Empty where the traces name none."""
    carrier: str
    """The protocol as it is shown; of Kafka also what kind of broker it was."""
    calls: int
    calls_per_request: float
    errors: int
    retries: int
    hedges: int
    client_p50: float | None
    client_p99: float | None
    server_p50: float | None
    tax_p50: float | None
    queue_p50: float | None
    request_p50: float | None
    response_p50: float | None
    shared: bool
    """Whether another operation of the caller calls the same."""
    slow: SlowOne | None

    @property
    def queued(self) -> bool:
        """Whether waiting for a worker is a tenth or more of the call, or of what becomes of the
        message."""
        queue = self.queue_p50 or 0.0
        whole = max(self.client_p50 or 0.0, queue + (self.server_p50 or 0.0))
        return queue > 0 and queue >= _QUEUED * whole

    @property
    def name(self) -> str:
        """Without the protocol; with the caller's operation where several call the same."""
        caller = f"{self.caller}.{self.caller_operation}" if self.shared else self.caller
        return f"{caller} → {self.callee}.{self.operation}"


@dataclass(frozen=True, slots=True)
class ServiceView:
    """One service over the rounds of a variant: medians of what each measured, in ms."""

    service: str
    requests: int
    errors: int
    queue_p50: float | None
    queue_p95: float | None
    server_p50: float | None
    server_p95: float | None
    self_p50: float | None

    @property
    def queued(self) -> bool:
        """As :attr:`EdgeView.queued`."""
        queue = self.queue_p50 or 0.0
        return queue > 0 and queue >= _QUEUED * (queue + (self.server_p50 or 0.0))


@dataclass(frozen=True, slots=True)
class Node:
    """An operation and the edges that leave it; ``edge`` is the one that led here."""

    service: str
    operation: str
    edge: EdgeView | None
    times: float | None
    """Calls of ``edge`` for each time that its caller ran; for a root, its share of the
    requests. None where that is not known."""
    children: tuple[Node, ...]
    repeated: bool = False
    """Its children were drawn further up; here they are left out."""


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None


def edge_views(
    edges: Iterable[EdgeRow], *, traced: int, broker: str | None = None
) -> tuple[EdgeView, ...]:
    """The edges of ``traced`` rounds, joined by identity, most time first. All rounds are of one
    run, so all went over one ``broker`` (of ``summary.json``)."""
    groups: dict[tuple[str, str, str, str, str], list[EdgeRow]] = defaultdict(list)
    callers: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for edge in edges:
        way = (edge.caller, edge.callee, edge.operation)
        callers[way].add(edge.caller_operation)
        groups[edge.caller, edge.caller_operation, *way[1:], edge.protocol or ""].append(edge)
    rows = [
        EdgeView(
            caller=caller,
            caller_operation=caller_operation,
            callee=callee,
            operation=operation,
            protocol=protocol,
            carrier=carrier(protocol, broker),
            calls=sum(e.calls for e in alike),
            calls_per_request=sum(e.calls_per_request for e in alike) / max(traced, 1),
            errors=sum(e.errors for e in alike),
            retries=sum(e.retries for e in alike),
            hedges=sum(e.hedges for e in alike),
            client_p50=_median(e.client_ms.p50 for e in alike),
            client_p99=_median(e.client_ms.p99 for e in alike),
            server_p50=_median(e.server_ms.p50 for e in alike),
            tax_p50=_median(e.tax_ms.p50 for e in alike),
            queue_p50=_median(e.queue_ms.p50 for e in alike if e.queue_ms is not None),
            request_p50=_median(e.request_bytes.p50 for e in alike),
            response_p50=_median(e.response_bytes.p50 for e in alike),
            shared=len(callers[caller, callee, operation]) > 1,
            slow=slow_one(alike),
        )
        for (caller, caller_operation, callee, operation, protocol), alike in groups.items()
    ]
    rows.sort(
        key=lambda r: (
            -r.calls_per_request * (r.client_p50 or 0.0),
            *(r.caller, r.callee, r.caller_operation),
        )
    )
    return tuple(rows)


def service_views(services: Iterable[ServiceRow]) -> tuple[ServiceView, ...]:
    """Those that served anything, by name, over the rounds."""
    groups: dict[str, list[ServiceRow]] = defaultdict(list)
    for row in services:
        if row.requests:
            groups[row.service].append(row)
    return tuple(
        ServiceView(
            service=service,
            requests=sum(row.requests for row in alike),
            errors=sum(row.errors for row in alike),
            queue_p50=_median(row.queue_ms.p50 for row in alike if row.queue_ms is not None),
            queue_p95=_median(row.queue_ms.p95 for row in alike if row.queue_ms is not None),
            server_p50=_median(row.server_ms.p50 for row in alike),
            server_p95=_median(row.server_ms.p95 for row in alike),
            self_p50=_median(row.self_ms.p50 for row in alike),
        )
        for service, alike in sorted(groups.items())
    )


def slow_one(edges: Iterable[EdgeRow]) -> SlowOne | None:
    """Of an edge's replicas over its rounds, the one whose P50 is ``straggler_ratio`` times the
    median of the others', where no other is as slow. At the caller; of messages, which it does not
    wait for, at the callee."""
    middles: dict[str, list[float]] = defaultdict(list)
    for edge in edges:
        for row in edge.replicas:
            p50 = (row.client_ms if edge.tax_ms.n else row.server_ms).p50
            if p50 is not None:
                middles[row.instance].append(p50)
    if len(middles) < 2:
        return None
    *rest, (slowest, instance) = sorted((median(of), name) for name, of in middles.items())
    others = median(p50 for p50, _ in rest)
    bar = _RATIO * others
    if slowest < bar or slowest == 0 or rest[-1][0] >= bar:
        return None
    return SlowOne(instance, slowest, others)


def carrier(protocol: str, broker: str | None) -> str:
    known = BROKERS.get(broker) if protocol == "kafka" else None
    return protocol if known is None else f"{protocol} ({known})"


def call_tree(edges: Sequence[EdgeView], entries: Mapping[str, float]) -> tuple[Node, ...]:
    """One tree for each operation that calls others and is called by none.

    ``entries`` holds the share of the requests (0..1) that come in at ``service.operation``.

    An operation reached twice is drawn with its children once, and nothing is drawn below
    ``MAX_DEPTH``.
    """
    leaving: dict[tuple[str, str], list[EdgeView]] = defaultdict(list)
    for edge in edges:
        leaving[edge.caller, edge.caller_operation].append(edge)
    called = {(edge.callee, edge.operation) for edge in edges}
    roots = [place for place in leaving if place not in called]
    drawn: set[tuple[str, str]] = set()
    ran: dict[str, float] = defaultdict(float, entries)
    for edge in edges:
        ran[f"{edge.callee}.{edge.operation}"] += edge.calls_per_request

    def times(edge: EdgeView | None, name: str) -> float | None:
        if edge is None:
            return entries.get(name)
        callers = ran.get(f"{edge.caller}.{edge.caller_operation}")
        return edge.calls_per_request / callers if callers else None

    def grow(service: str, operation: str, edge: EdgeView | None, above: frozenset[str]) -> Node:
        name = f"{service}.{operation}"
        below = leaving.get((service, operation), [])
        seen = name in above or (below and (service, operation) in drawn)
        if seen or len(above) >= MAX_DEPTH:
            return Node(service, operation, edge, times(edge, name), (), repeated=bool(below))
        drawn.add((service, operation))
        path = above | {name}
        children = tuple(
            grow(child.callee, child.operation, child, path)
            for child in sorted(below, key=lambda e: (e.callee, e.operation, e.protocol))
        )
        return Node(service, operation, edge, times(edge, name), children)

    return tuple(
        grow(service, operation, None, frozenset()) for service, operation in sorted(roots)
    )
