"""The call tree of a variant, from the edges of its trials."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from analysis.rows.edges import EdgeRow

BROKERS: Mapping[str | None, str] = {
    "embedded": "embedded broker",
    "kafka": "real broker",
    "memory": "simulated broker",
}
"""What carried Kafka's messages: no figure of one stands for another."""
MAX_DEPTH = 64
"""Deeper than any call graph a person reads, and far from the interpreter's recursion limit."""


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

    @property
    def name(self) -> str:
        """Without the protocol; with the caller's operation where several call the same."""
        caller = f"{self.caller}.{self.caller_operation}" if self.shared else self.caller
        return f"{caller} → {self.callee}.{self.operation}"


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
