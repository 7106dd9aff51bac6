"""Queues that grow: services and consumers that get more than they can do.

Judged by counts of arrivals and handlings, since of what falls behind the traces are the last to
tell. In a round a service falls behind where, second by second of the measured phase, more arrived
than was handled, and somebody waited whenever one of the later seconds ended. So that chance is no
finding, the difference is ``backlog_share`` of the arrivals or more and :data:`_SURE` standard
errors of its mean (a queue of steady length, too, where who waits gives up); or, where the queue of
the last third is :data:`_GROWS` times that of the first, :data:`_MUCH` of the arrivals and half as
many errors. Of simulated M/D/1 queues that tells 0.3 % at 80 % of capacity, 80 % at 120 % within
8 s, 99 % within 20 s. What a service can do is what it handled in seconds that began and ended with
somebody waiting.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil
from statistics import median
from typing import Any, Final, NamedTuple

import numpy as np

from analysis.arrays import I64
from analysis.arrays.quantiles import NS_PER_MS
from analysis.findings.finding import Where
from analysis.findings.flows import Flow, together
from analysis.findings.observed import Candidate, Observed, Shown, conclude
from analysis.spans.table import Flag, Kind
from services.scenario.limits import MAX_REPLICAS

_SECONDS: Final = 4
"""Fewer say nothing of growth."""
_SURE: Final = 3.0
_GROWS: Final = 1.5
_MUCH: Final = 0.05
_LATE: Final = 0.05
"""Of those that left the queue: with so many given up the rate is of those in time."""
_ROOM: Final = 0.8
"""How busy those workers would be that are advised."""


class _Behind(NamedTuple):
    """One service in one round."""

    flow: Flow
    rate: float
    """Arrivals a second."""
    capacity: float
    waiting: int
    """When the measured phase ended."""


def backlogs(seen: Observed) -> Iterator[Candidate]:
    rounds = len({flow.round for flow in seen.flows})
    services: dict[str, list[_Behind]] = {}
    for flow in together(seen.flows):
        behind = _behind(flow, seen.settings.backlog_share)
        if behind is not None:
            services.setdefault(flow.service, []).append(behind)
    for service, found in services.items():
        if 2 * len(found) > rounds:
            yield _backlog(seen, service, found)


def _behind(flow: Flow, least: float) -> _Behind | None:
    at = flow.measured
    arrived, handled, waiting = flow.arrived[at], flow.handled[at], flow.waiting[at]
    count = len(arrived)
    if count < _SECONDS or not arrived.any() or not (waiting[count // 2 :] > 0).all():
        return None
    gap = (arrived - handled).astype(np.float64)
    rate = float(arrived.mean())
    chance = float(gap.std(ddof=1)) / np.sqrt(count)
    sure = gap.mean() > max(least * rate, _SURE * chance)
    if not sure and not (_grows(waiting) and gap.mean() > max(_MUCH * rate, _SURE / 2 * chance)):
        return None
    before = flow.waiting[at.start - 1 : at.stop - 1] if at.start else np.append(0, waiting[:-1])
    busy = (before > 0) & (waiting > 0)
    return _Behind(flow, rate, float(handled[busy].mean()), int(waiting[-1]))


def _grows(waiting: I64) -> bool:
    third = len(waiting) // 3
    return float(waiting[-third:].mean()) >= _GROWS * max(float(waiting[:third].mean()), 1.0)


def _backlog(seen: Observed, service: str, found: Sequence[_Behind]) -> Candidate:
    flow = found[0].flow
    spans, role = seen.spans, seen.hops.role
    served = (spans.service == spans.code(service)) & (spans.service >= 0)
    served &= (role == Kind.SERVER) | (role == Kind.CONSUMER)
    rows = np.flatnonzero(served & (spans.queue > 0)).astype(np.int32)
    waited = np.where(seen.path.on_path[rows], spans.queue[rows], 0)
    rate = median([behind.rate for behind in found])
    capacity = median([behind.capacity for behind in found])
    waiting = int(median([behind.waiting for behind in found]))
    more = median([behind.flow.due_for_sent for behind in found])
    what = "messages" if flow.protocol == "kafka" else "requests"
    undropped = f" ({more * rate:.1f} without drops)" if more > 1.005 else ""
    late = sum(int((b.flow.left - b.flow.handled).sum()) for b in found)
    in_time = " in time" if late > _LATE * sum(int(b.flow.left.sum()) for b in found) else ""
    longest = int(spans.queue[rows].max(initial=0)) / NS_PER_MS
    text = (
        f"{service} falls behind: {rate:.1f} {what} come in a second{undropped}, and it handles "
        f"{capacity:.1f}{in_time}; when the {flow.measured_s} measured seconds ended, {waiting:,} "
        f"were waiting."
    )
    if longest:
        text += f" The longest wait traced was {longest:,.0f} ms."
    refactor, would = _would_do(seen, flow, more * rate, capacity)
    return conclude(
        seen,
        "queue.backlog",
        Where(callee=service, operation=flow.operation, protocol=flow.protocol),
        Shown(
            unit=seen.unit[rows],
            count=np.ones(len(rows), np.int64),
            cost=waited,
            saving=(np.zeros_like(waited), waited),
            rows=(np.arange(len(rows), dtype=np.int32), rows),
        ),
        units_with_place=len(np.unique(seen.unit[rows])),
        confidence="high",
        text=text + would,
        refactor=refactor,
    )


def _would_do(
    seen: Observed, flow: Flow, rate: float, capacity: float
) -> tuple[dict[str, Any] | None, str]:
    """The refactor that gives it room for ``rate`` a second, and the same in words."""
    service, facts = flow.service, seen.facts
    replicas = facts.replicas.get(service)
    if replicas is None:
        return None, ""
    workers = facts.workers.get(service)
    edge, partitions = facts.ordered.get((service, flow.operation or ""), ("", 0))
    in_order = (
        bool(edge)
        and flow.protocol == "kafka"
        and service not in facts.busy
        and (workers is None or partitions <= workers * replicas)
    )
    slots = partitions if in_order else replicas * (workers or 1)
    each_s = _handling_s(seen, service) if in_order or workers else 0.0
    if not each_s and not capacity:
        return None, " It brought none to an end in time, so nobody can say what would keep up."
    # Who retries what comes too late asks more often than there is to ask.
    rate /= _attempts(seen, service)
    needed = rate * (each_s or slots / capacity) / _ROOM
    at, key, has, more = service, "replicas", replicas, needed / (workers or 1)
    if in_order:
        at, key, has, more = edge, "partitions", partitions, needed
    elif workers is not None and service not in facts.busy:
        key, has, more = "workers", workers, needed / replicas
    count = max(ceil(more), has + 1)
    if count > MAX_REPLICAS:
        return None, f" More than {MAX_REPLICAS:,} {key} would have to be there."
    order = f" Each of {partitions} partitions is handled in order;" if in_order else ""
    each = " each" if key == "workers" and replicas > 1 else ""
    return {"op": "set", "at": at, key: count}, f"{order} {count:,} {key}{each} would keep up."


def _handling_s(seen: Observed, service: str) -> float:
    """What a worker needs for a request that it brings to a good end, in the mean; 0 where no
    trace tells."""
    spans, role = seen.spans, seen.hops.role
    ended = (spans.service == spans.code(service)) & (spans.service >= 0)
    ended &= ((role == Kind.SERVER) | (role == Kind.CONSUMER)) & ~spans.has(Flag.ERROR)
    if not ended.any():
        return 0.0
    return float((spans.duration - np.maximum(spans.queue, 0))[ended].mean()) / 1e9


def _attempts(seen: Observed, service: str) -> float:
    """For each call of the service."""
    of = [n for n, place in enumerate(seen.hops.places) if place.callee == service]
    attempts = int(np.isin(seen.hops.place, of).sum())
    return attempts / max(int(np.isin(seen.calls.place, of).sum()), 1) if attempts else 1.0
