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
from typing import Any, Final, NamedTuple

import numpy as np

from analysis.arrays import I64
from analysis.arrays.quantiles import NS_PER_MS
from analysis.findings.finding import Where
from analysis.findings.flows import Flow, together
from analysis.findings.observed import Candidate, Observed, Shown, conclude
from analysis.spans.table import Kind
from services.scenario.facts import Facts

_SECONDS: Final = 4
"""Fewer say nothing of growth."""
_SURE: Final = 3.0
_GROWS: Final = 1.5
_MUCH: Final = 0.05
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
    rows = np.flatnonzero(
        (spans.service == spans.code(service))
        & ((role == Kind.SERVER) | (role == Kind.CONSUMER))
        & (spans.queue > 0)
        & (spans.service >= 0)
    ).astype(np.int32)
    waited = np.where(seen.path.on_path[rows], spans.queue[rows], 0)
    rate, capacity = (float(np.median([getattr(b, n) for b in found])) for n in _FIGURES)
    waiting = int(np.median([behind.waiting for behind in found]))
    what = "messages" if flow.protocol == "kafka" else "requests"
    text = (
        f"{service} falls behind: {rate:.1f} {what} come in a second, and it handles "
        f"{capacity:.1f}; after the {flow.measured_s} s that were measured {waiting:,} were waiting"
    )
    longest = int(spans.queue[rows].max(initial=0)) / NS_PER_MS
    if longest:
        text += f", and of those traced one had waited {longest:,.0f} ms"
    refactor, would = _would_do(seen.facts, flow, rate / max(capacity, 1e-9))
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
        text=f"{text}.{would}",
        refactor=refactor,
    )


_FIGURES: Final = ("rate", "capacity")


def _would_do(facts: Facts, flow: Flow, ratio: float) -> tuple[dict[str, Any] | None, str]:
    """The refactor that gives it room, and the same in words; ``ratio`` of arrivals to capacity."""
    service = flow.service
    replicas = facts.replicas.get(service)
    if replicas is None:
        return None, ""
    workers = facts.workers.get(service)
    slots = None if workers is None else workers * replicas
    edge, partitions = facts.ordered.get(service, ("", 0))
    if edge and (slots is None or partitions <= slots):
        needed = ceil(partitions * ratio / _ROOM)
        text = f" Each of {partitions} partitions is handled in order; {needed} would keep up."
        return {"op": "set", "at": edge, "partitions": needed}, text
    if slots is not None and workers is not None and service not in facts.busy:
        needed = ceil(ceil(slots * ratio / _ROOM) / replicas)
        text = f" With {needed} workers{' each' if replicas > 1 else ''} it would keep up."
        return {"op": "set", "at": service, "workers": needed}, text
    needed = ceil(replicas * ratio / _ROOM)
    return {"op": "set", "at": service, "replicas": needed}, (
        f" With {needed} replicas it would keep up."
    )
