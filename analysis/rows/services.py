"""Services: what each did, and how long it took by itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.arrays import I64, intervals
from analysis.arrays.grouping import counted, distinct
from analysis.arrays.quantiles import NS_PER_MS, Quantiles, quantiles_by_group
from analysis.findings.observed import Observed
from analysis.spans.table import Flag, Kind, SpanTable


@dataclass(frozen=True, slots=True)
class ServiceRow:
    """What a service did."""

    service: str
    instances: int
    operations: int
    """That it served."""
    spans: int
    requests: int
    """Served, messages included."""
    errors: int
    queue_ms: Quantiles | None
    """From arrival until a worker took it; None where no span tells."""
    server_ms: Quantiles
    """Handling."""
    self_ms: Quantiles
    """Of its spans: :func:`self_time`, without the queue."""


def service_rows(seen: Observed) -> tuple[ServiceRow, ...]:
    """One row for each service, by name."""
    spans = seen.spans
    if len(spans) == 0:
        return ()
    services = distinct(spans.service)
    count = services.count
    serving = (seen.hops.role == Kind.SERVER) | (seen.hops.role == Kind.CONSUMER)
    errors = serving & spans.has(Flag.ERROR)
    queue = np.maximum(spans.queue, 0)
    handled = serving & (spans.handling >= 0)
    handling = quantiles_by_group(
        services.of[handled], spans.handling[handled], count, divisor=NS_PER_MS
    )
    told = serving & (spans.queue >= 0)
    waited = quantiles_by_group(services.of[told], queue[told], count, divisor=NS_PER_MS)
    tells = counted(services.of[told], count) > 0
    own = quantiles_by_group(
        services.of, np.maximum(self_time(spans) - queue, 0), count, divisor=NS_PER_MS
    )
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
        ServiceRow(
            service=spans.name(int(spans.service[services.first[s]])) or "",
            instances=int(replicas[s]),
            operations=int(offered[s]),
            spans=int(total[s]),
            requests=int(served[s]),
            errors=int(failed[s]),
            queue_ms=waited[s] if tells[s] else None,
            server_ms=handling[s],
            self_ms=own[s],
        )
        for s in range(count)
    ]
    return tuple(sorted(rows, key=lambda r: r.service))


def self_time(spans: SpanTable) -> I64:
    """Of each span, its duration minus the union of what its children cover of it, ns."""
    child = np.flatnonzero((spans.parent >= 0) & ~spans.has(Flag.ASYNC))
    parent = spans.parent[child]
    start = np.maximum(spans.start[child], spans.start[parent])
    end = np.minimum(spans.end[child], spans.end[parent])
    some = end > start
    parents = distinct(parent[some])
    covered = intervals.union(parents.of, start[some], end[some], parents.count)
    own = spans.duration.copy()
    own[parent[some][parents.first]] -= covered
    return own
