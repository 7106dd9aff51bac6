"""Communication by edge, and by service: the rows of every document."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis import intervals
from analysis.grouping import counted, distinct, summed
from analysis.observed import NS_PER_MS, Observed
from analysis.pairs import UNKNOWN
from analysis.quantiles import Quantiles, quantiles, quantiles_by_group
from analysis.spans import Flag, Kind

I64 = NDArray[np.int64]


def edge_rows(seen: Observed, requests: int) -> tuple[dict[str, Any], ...]:
    """One row for each (caller, callee, operation, protocol), busiest first.

    ``client_ms`` is of logical calls, from the first attempt to the answer; ``server_ms``,
    ``tax_ms`` and sizes are of attempts, ``queue_ms`` of deliveries within one host.
    """
    hops, calls, spans = seen.hops, seen.calls, seen.spans
    keys = [(p.caller, p.callee, p.operation, p.protocol) for p in hops.places]
    edges = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    if not edges:
        return ()
    edge_of_place = np.array([edges[key] for key in keys], np.int64)
    of_hop, of_call = edge_of_place[hops.place], edge_of_place[calls.place]
    count = len(edges)

    asked = counted(of_call, count)
    attempts = counted(of_hop, count)
    failed = counted(of_call[calls.failed], count)
    recorded = hops.client[calls.first] >= 0
    client = quantiles_by_group(
        of_call[recorded], calls.duration[recorded], count, divisor=NS_PER_MS
    )
    served = hops.server >= 0
    server = quantiles_by_group(
        of_hop[served], spans.duration[hops.server[served]], count, divisor=NS_PER_MS
    )
    taxed = hops.tax >= 0
    tax = quantiles_by_group(of_hop[taxed], hops.tax[taxed], count, divisor=NS_PER_MS)
    requested = _sizes(seen, seen.spans.messages.request_bytes)
    responded = _sizes(seen, seen.spans.messages.response_bytes)
    request = quantiles_by_group(of_hop[requested >= 0], requested[requested >= 0], count)
    response = quantiles_by_group(of_hop[responded >= 0], responded[responded >= 0], count)
    queue = _queues(seen, of_hop, count)
    is_message = np.zeros(count, np.bool_)
    is_message[of_hop[hops.messages]] = True
    callers: list[set[str]] = [set() for _ in range(count)]
    for key, place in zip(keys, hops.places, strict=True):
        callers[edges[key]].add(place.caller_operation)

    rows: list[dict[str, Any]] = []
    for (caller, callee, operation, protocol), e in edges.items():
        operations = sorted(callers[e])
        rows.append(
            {
                "caller": caller,
                "caller_operation": operations[0] if len(operations) == 1 else None,
                "caller_operations": operations,
                "callee": callee,
                "operation": operation,
                "protocol": protocol,
                "calls": int(asked[e]),
                "calls_per_request": int(asked[e]) / requests if requests else None,
                "errors": int(failed[e]),
                "retries": int(attempts[e] - asked[e]),
                "client_ms": client[e].document(),
                "server_ms": server[e].document(),
                "tax_ms": tax[e].document(),
                "queue_ms": queue[e].document() if is_message[e] else None,
                "request_bytes": request[e].document(),
                "response_bytes": response[e].document(),
            }
        )
    rows.sort(
        key=lambda r: (-r["calls"], r["caller"], r["callee"], r["operation"], r["protocol"] or "")
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


def _queues(seen: Observed, of_hop: I64, count: int) -> list[Quantiles]:
    """Consumer start minus producer end, where both read the same clock."""
    spans, hops = seen.spans, seen.hops
    producer, consumer = hops.deliveries
    edge = np.full(len(spans), -1, np.int64)
    at = hops.client >= 0
    edge[hops.client[at]] = of_hop[at]
    same = (spans.host[producer] == spans.host[consumer]) & (edge[producer] >= 0)
    # A host that nobody names is one host only where the scenario ran here.
    same &= (spans.host[producer] >= 0) | seen.facts.known
    producer, consumer = producer[same], consumer[same]
    waited = spans.start[consumer] - spans.end[producer]
    return quantiles_by_group(edge[producer], waited, count, divisor=NS_PER_MS)


def traffic(seen: Observed) -> tuple[int, int]:
    """Total inter-service calls, and unique (caller, callee) pairs of different services."""
    places = seen.hops.places
    if not places:
        return 0, 0
    between = np.array([p.callee not in {p.caller, UNKNOWN} for p in places], np.bool_)
    pairs = {(p.caller, p.callee) for p in places if p.callee not in {p.caller, UNKNOWN}}
    return int(between[seen.calls.place].sum()), len(pairs)


def path_rows(seen: Observed) -> tuple[dict[str, Any], ...]:
    """Time on the critical path by root operation, service and operation, dearest first.

    ``share`` is of the mean duration of those roots; ``self_ms`` counts roots whose path never
    touches the operation as 0, so that it speaks of a request. About a scenario, the operation is
    the one that was served: what its client and fan-out spans add (waiting on the wire) counts as
    its own, and ``wire_share`` tells how much of the share that is.
    """
    spans, path = seen.spans, seen.path
    on = np.flatnonzero(path.on_path)
    wire = (spans.kind[on] == Kind.CLIENT) | (spans.kind[on] == Kind.PRODUCER)
    at = on.astype(np.int32)
    if seen.facts.known:
        serving = (spans.kind == Kind.SERVER) | (spans.kind == Kind.CONSUMER)
        served = np.where(serving[on], at, spans.forest.nearest(serving)[on])
        at = np.where(served >= 0, served, at)
    if len(on) == 0:
        return ()
    roots = np.flatnonzero(path.is_root & path.on_path)
    kinds = distinct(spans.service[roots], spans.operation[roots])
    kind_of_root = np.full(len(spans), -1, np.int64)
    kind_of_root[roots] = kinds.of
    length = summed(kinds.of, (path.hi - path.lo)[roots], kinds.count)
    how_many = counted(kinds.of, kinds.count)

    kind = kind_of_root[path.root[on]]
    places = distinct(kind, spans.service[at], spans.operation[at])
    per_root = distinct(places.of, path.root[on])
    own = summed(per_root.of, path.exclusive[on], per_root.count)
    on_wire = summed(places.of[wire], path.exclusive[on][wire], places.count)
    place_of = places.of[per_root.first]
    total = summed(place_of, own, places.count)
    rows: list[dict[str, Any]] = []
    order = np.argsort(place_of, kind="stable")
    bounds = np.searchsorted(place_of[order], np.arange(places.count + 1))
    for number in range(places.count):
        example = int(at[places.first[number]])
        of_kind = int(kind[places.first[number]])
        root = int(roots[kinds.first[of_kind]])
        seen_in = own[order[bounds[number] : bounds[number + 1]]]
        values = np.concatenate(
            (np.zeros(int(how_many[of_kind]) - len(seen_in), np.int64), seen_in)
        )
        rows.append(
            {
                "root": f"{spans.name(int(spans.service[root]))}"
                f".{spans.name(int(spans.operation[root]))}",
                "service": spans.name(int(spans.service[example])) or "",
                "operation": spans.name(int(spans.operation[example])) or "",
                "share": int(total[number]) / int(length[of_kind]) if length[of_kind] else 0.0,
                "wire_share": int(on_wire[number]) / int(length[of_kind])
                if length[of_kind]
                else 0.0,
                "self_ms": quantiles(values, divisor=NS_PER_MS).document(),
            }
        )
    rows.sort(key=lambda r: (r["root"], -r["share"], r["service"], r["operation"]))
    return tuple(rows)


def service_rows(seen: Observed) -> tuple[dict[str, Any], ...]:
    """What each service did: spans, requests served, errors, time served and time of its own."""
    spans = seen.spans
    if len(spans) == 0:
        return ()
    services = distinct(spans.service)
    count = services.count
    serving = (seen.hops.role == Kind.SERVER) | (seen.hops.role == Kind.CONSUMER)
    errors = serving & spans.has(Flag.ERROR)
    duration = quantiles_by_group(
        services.of[serving], spans.duration[serving], count, divisor=NS_PER_MS
    )
    own = quantiles_by_group(services.of, self_time(seen), count, divisor=NS_PER_MS)
    instances = distinct(services.of, spans.instance)
    named = spans.instance[instances.first] >= 0
    replicas = counted(services.of[instances.first][named], count)
    operations = distinct(services.of[serving], spans.operation[serving])
    offered = counted(services.of[serving][operations.first], count)
    total, served, failed = (
        counted(services.of, count),
        counted(services.of[serving], count),
        counted(services.of[errors], count),
    )
    rows = [
        {
            "service": spans.name(int(spans.service[services.first[s]])) or "",
            "instances": int(replicas[s]),
            "operations": int(offered[s]),
            "spans": int(total[s]),
            "requests": int(served[s]),
            "errors": int(failed[s]),
            "server_ms": duration[s].document(),
            "self_ms": own[s].document(),
        }
        for s in range(count)
    ]
    rows.sort(key=lambda r: str(r["service"]))
    return tuple(rows)


def self_time(seen: Observed) -> I64:
    """Of each span, its duration minus the union of what its children cover of it, ns."""
    spans, path = seen.spans, seen.path
    child = np.flatnonzero((spans.parent >= 0) & ~spans.has(Flag.ASYNC))
    parent = spans.parent[child]
    start = np.maximum(spans.start[child], spans.start[parent])
    end = np.minimum(spans.end[child], spans.end[parent])
    some = end > start
    parents = distinct(parent[some])
    covered = intervals.union(parents.of, start[some], end[some], parents.count)
    own = spans.duration.copy()
    own[parent[some][parents.first]] -= covered
    assert len(path.lo) == len(own)
    return own
