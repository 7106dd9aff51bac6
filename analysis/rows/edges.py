"""Communication by edge: the rows of ``edges`` in every document."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.arrays import I64, NONE
from analysis.arrays.grouping import counted, distinct, summed
from analysis.arrays.quantiles import NS_PER_MS, Quantiles, quantiles_by_group
from analysis.findings.observed import Observed
from analysis.traces.pairs import UNKNOWN


@dataclass(frozen=True, slots=True)
class ReplicaRow:
    """What one instance answered of an edge's calls: figures of attempts. ``client_ms`` is what
    the caller saw of them, of a message until it was accepted."""

    instance: str
    calls: int
    client_ms: Quantiles
    server_ms: Quantiles


@dataclass(frozen=True, slots=True)
class EdgeRow:
    """``client_ms`` is of logical calls, from the first attempt to the answer; ``queue_ms`` (from
    arrival until a worker took it), ``server_ms`` (handling), ``tax_ms`` (client - queue - server)
    and sizes (bytes) are of attempts."""

    caller: str
    caller_operation: str
    caller_operations: tuple[str, ...]
    """That one alone."""
    callee: str
    operation: str
    protocol: str | None
    calls: int
    calls_per_request: float
    """By the traces that were judged."""
    errors: int
    retries: int
    """Attempts after one that had failed."""
    hedges: int
    """Attempts beside one that was under way."""
    client_ms: Quantiles
    server_ms: Quantiles
    tax_ms: Quantiles
    queue_ms: Quantiles | None
    """Of a message since its sending had ended, where both read one clock. None where no span
    tells."""
    request_bytes: Quantiles
    response_bytes: Quantiles
    replicas: tuple[ReplicaRow, ...]
    """By instance; empty where fewer than two are known to have answered."""


def edge_rows(seen: Observed) -> tuple[EdgeRow, ...]:
    """One row for each (caller, its operation, callee, operation, protocol), busiest first."""
    hops, calls, spans = seen.hops, seen.calls, seen.spans
    keys = [(p.caller, p.caller_operation, p.callee, p.operation, p.protocol) for p in hops.places]
    edges = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    if not edges:
        return ()
    edge_of_place = np.array([edges[key] for key in keys], np.int64)
    of_hop, of_call = edge_of_place[hops.place], edge_of_place[calls.place]
    count = len(edges)

    asked = counted(of_call, count)
    attempts = counted(of_hop, count)
    hedged = summed(of_call, calls.hedges.astype(np.int64), count)
    failed = counted(of_call[calls.failed], count)
    recorded = hops.client[calls.first] >= 0
    client = quantiles_by_group(
        of_call[recorded], calls.duration[recorded], count, divisor=NS_PER_MS
    )
    served = hops.handling >= 0
    server = quantiles_by_group(of_hop[served], hops.handling[served], count, divisor=NS_PER_MS)
    taxed = hops.tax >= 0
    tax = quantiles_by_group(of_hop[taxed], hops.tax[taxed], count, divisor=NS_PER_MS)
    requested = _sizes(seen, seen.spans.messages.request_bytes)
    responded = _sizes(seen, seen.spans.messages.response_bytes)
    request = quantiles_by_group(of_hop[requested >= 0], requested[requested >= 0], count)
    response = quantiles_by_group(of_hop[responded >= 0], responded[responded >= 0], count)
    queue = _queues(seen, of_hop, count)
    replicas = _replicas(seen, of_hop, count)
    rows: list[EdgeRow] = []
    for (caller, caller_operation, callee, operation, protocol), e in edges.items():
        rows.append(
            EdgeRow(
                caller=caller,
                caller_operation=caller_operation,
                caller_operations=(caller_operation,),
                callee=callee,
                operation=operation,
                protocol=protocol,
                calls=int(asked[e]),
                calls_per_request=int(asked[e]) / spans.traces,
                errors=int(failed[e]),
                retries=int(attempts[e] - asked[e] - hedged[e]),
                hedges=int(hedged[e]),
                client_ms=client[e],
                server_ms=server[e],
                tax_ms=tax[e],
                queue_ms=queue[e],
                request_bytes=request[e],
                response_bytes=response[e],
                replicas=replicas[e],
            )
        )
    rows.sort(
        key=lambda r: (
            *(-r.calls, r.caller, r.callee, r.operation),
            *(r.protocol or "", r.caller_operation),
        )
    )
    return tuple(rows)


def _sizes(seen: Observed, column: I64) -> I64:
    """Bytes by hop, as the caller says, or else the callee; -1 where neither does."""
    hops = seen.hops
    if len(column) == 0:
        return np.zeros(0, np.int64)
    client = np.where(hops.client >= 0, column[hops.client], -1)
    server = np.where(hops.server >= 0, column[hops.server], -1)
    return np.where(client >= 0, client, server)


def _queues(seen: Observed, of_hop: I64, count: int) -> list[Quantiles | None]:
    """Of requests, what their server spans say. Of messages, consumer start minus producer end,
    where both read the same clock, and what the consumer says beside."""
    spans, hops = seen.spans, seen.hops
    told = np.flatnonzero((hops.queue >= 0) & ~hops.messages)
    producer, consumer = hops.deliveries
    edge = np.full(len(spans), -1, np.int64)
    at = hops.client >= 0
    edge[hops.client[at]] = of_hop[at]
    same = (spans.host[producer] == spans.host[consumer]) & (edge[producer] >= 0)
    # A host that nobody names is one host only where the scenario ran here.
    same &= (spans.host[producer] >= 0) | seen.facts.known
    producer, consumer = producer[same], consumer[same]
    waited, queue = spans.start[consumer] - spans.end[producer], spans.queue[consumer]
    waited = np.where(queue < 0, waited, np.maximum(waited, 0) + queue)
    of_edge = np.concatenate([of_hop[told], edge[producer]])
    waited = np.concatenate([hops.queue[told], waited])
    found = quantiles_by_group(of_edge, waited, count, divisor=NS_PER_MS)
    tells = np.zeros(count, np.bool_)
    tells[of_edge] = tells[of_hop[hops.messages]] = True
    return [of if known else None for of, known in zip(found, tells, strict=True)]


def _replicas(seen: Observed, of_hop: I64, count: int) -> list[tuple[ReplicaRow, ...]]:
    """By edge, what each instance answered, where there are several."""
    spans, hops = seen.spans, seen.hops
    instance = np.where(hops.server >= 0, spans.instance[hops.server], NONE)
    hop = np.flatnonzero(instance >= 0)
    found: list[list[ReplicaRow]] = [[] for _ in range(count)]
    pairs = distinct(of_hop[hop], instance[hop])
    several = counted(of_hop[hop[pairs.first]], count) > 1
    hop = hop[several[of_hop[hop]]]
    pairs = distinct(of_hop[hop], instance[hop])
    calls = counted(pairs.of, pairs.count)
    recorded = hops.client[hop] >= 0
    client = quantiles_by_group(
        pairs.of[recorded],
        spans.duration[hops.client[hop[recorded]]],
        pairs.count,
        divisor=NS_PER_MS,
    )
    handled = hops.handling[hop] >= 0
    server = quantiles_by_group(
        pairs.of[handled], hops.handling[hop[handled]], pairs.count, divisor=NS_PER_MS
    )
    for number, at in enumerate(hop[pairs.first].tolist()):
        name = spans.name(int(instance[at])) or ""
        row = ReplicaRow(name, int(calls[number]), client[number], server[number])
        found[of_hop[at]].append(row)
    return [tuple(sorted(rows, key=lambda row: row.instance)) for rows in found]


def traffic(seen: Observed) -> tuple[int, int]:
    """Total inter-service calls, and unique (caller, callee) pairs of different services."""
    places = seen.hops.places
    if not places:
        return 0, 0
    between = np.array([p.callee not in {p.caller, UNKNOWN} for p in places], np.bool_)
    pairs = {(p.caller, p.callee) for p in places if p.callee not in {p.caller, UNKNOWN}}
    return int(between[seen.calls.place].sum()), len(pairs)
