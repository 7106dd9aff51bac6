"""Queues that grow: services, replicas and topics that get more than they can do.

Judged by counts of arrivals and handlings, since of what falls behind the traces are the last to
tell. Something falls behind in a stretch of seconds where more arrived than was handled, and
somebody waited whenever one of the later seconds ended. So that chance is no finding, the
difference is ``backlog_share`` of the arrivals or more and :data:`_SURE` standard errors of its
mean; or, where the queue of the last third is :data:`_GROWS` times that of the first, :data:`_MUCH`
of the arrivals and half as many errors; and half a second's work waits in the end. The measured
phase is looked at first, then the round with its warm-up, and the end of the phase (for a load that
rises), where a third more errors are asked for, and a second's work that waits. Where the load
dropped requests, a queue that nobody saw empty is enough: who was dropped is not in it. Of
simulated M/D/1 queues that tells 0.3 % at 80 % of capacity, 5 % at 95 % (of 10 s; 1 % of 60 s),
85 % at 120 % within 8 s and 99 % within 20 s.

Who waits for a callee that is never without a queue is told with that callee, which is what lacks.
What is lacking is worked out here; whether it would do, whoever can simulate it says
(hopbench/results/promises).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import ceil
from statistics import median
from typing import Any, Final, NamedTuple

import numpy as np

from analysis.arrays import I32, I64
from analysis.arrays.quantiles import NS_PER_MS
from analysis.findings.finding import Where
from analysis.findings.flows import Flow, by_instance, together
from analysis.findings.observed import Candidate, Observed, Shown, conclude
from analysis.spans.table import Flag, Kind
from services.scenario.facts import Facts
from services.scenario.limits import MAX_REPLICAS

_SECONDS: Final = 4
"""Fewer say nothing of growth."""
_SURE: Final = 3.0
_SURER: Final = 4.0
_GROWS: Final = 1.5
_MUCH: Final = 0.05
_STALL: Final = 0.5
"""Seconds of work that wait in the end: fewer may be left of one stop of the machine."""
_NEVER_EMPTY: Final = 0.95
"""Of the seconds: in so many somebody waits at the end."""
_LATE: Final = 0.05
"""Of those that left the queue: with so many given up the rate is of those in time."""
_ROOM: Final = 0.8
"""How busy those workers would be that are advised."""


class Behind(NamedTuple):
    """What falls behind in one round, and how far."""

    flow: Flow
    since_s: int
    """The first second of the stretch that says so."""
    rate: float
    """Arrivals a second, in it."""
    capacity: float
    """Handled a second, of those that began and ended with somebody waiting."""
    waiting: int
    """When the measured phase ended."""


def backlogs(seen: Observed) -> Iterator[Candidate]:
    rounds = len({flow.round for flow in seen.flows})
    found: dict[tuple[str, str | None], list[Behind]] = {}
    for behind in falling_behind(seen.flows, seen.facts, seen.settings.backlog_share):
        found.setdefault((behind.flow.service, behind.flow.instance), []).append(behind)
    often = {of: each for of, each in found.items() if 2 * len(each) > rounds}
    if not often:
        return
    below = _full_below(seen)
    lacking: dict[str, list[str]] = {}
    for service, instance in often:
        if instance is None:
            lacking.setdefault(_bottleneck(service, below), []).append(service)
    for service, callers in lacking.items():
        yield _backlog(seen, service, callers, often[callers[0], None])
    for (service, instance), each in often.items():
        if instance is not None and service not in lacking:
            yield _one_replica(seen, instance, each)


def falling_behind(flows: Sequence[Flow], facts: Facts, least: float) -> Iterator[Behind]:
    """At most one of each service and round: a topic whose messages are handled in order, replicas
    whose siblings keep up, or all of it."""
    topics, several = _of_service(flows), _of_service(by_instance(flows))
    for whole in together(flows):
        of = (whole.round, whole.service)
        in_order = [f for f in topics[of] if f.instance is None and _in_order(f, facts)]
        behind = [b for f in in_order if (b := _behind(f, least))]
        replicas = several.get(of, [])
        if not behind and len(replicas) > 1:
            slow = [b for f in replicas if (b := _behind(f, least))]
            theirs = {b.flow.instance for b in slow}
            idle = [f for f in replicas if f.instance not in theirs and not _never_empty(f)]
            behind = slow if idle else []
        if not behind:
            behind = [b for b in (_behind(whole, least),) if b]
        yield from sorted(behind, key=lambda b: -b.waiting)[:1]


def _of_service(flows: Iterable[Flow]) -> dict[tuple[int, str], list[Flow]]:
    """By round and service."""
    found: dict[tuple[int, str], list[Flow]] = {}
    for flow in flows:
        found.setdefault((flow.round, flow.service), []).append(flow)
    return found


def _in_order(flow: Flow, facts: Facts) -> bool:
    return flow.protocol == "kafka" and (flow.service, flow.operation) in facts.ordered


def _behind(flow: Flow, least: float) -> Behind | None:
    begins, ends = flow.begins, flow.ends
    if not flow.waiting[begins:ends].any():
        return None
    half = (ends - begins) // 2
    last = (begins + half, begins + half + half // 2, ends - _SECONDS)
    for start in dict.fromkeys((begins, 0, *(at for at in last if at >= begins))):
        plain = start == begins
        if ends - start >= _SECONDS and _piles_up(flow, start, least, plain=plain):
            arrived, waiting = flow.arrived[start:ends], flow.waiting[start:ends]
            before = flow.waiting[start - 1 : ends - 1] if start else np.append(0, waiting[:-1])
            busy = (before > 0) & (waiting > 0)
            capacity = float(flow.handled[start:ends][busy].mean())
            since = int(flow.second[start])
            return Behind(flow, since, float(arrived.mean()), capacity, int(waiting[-1]))
    return None


def _piles_up(flow: Flow, start: int, least: float, *, plain: bool) -> bool:
    at = slice(start, flow.ends)
    arrived, handled, waiting = flow.arrived[at], flow.handled[at], flow.waiting[at]
    count = len(arrived)
    if not arrived.any() or not (waiting[count // 2 :] > 0).all():
        return False
    if plain and flow.due_for_sent >= 1 + least and _never_empty(flow):
        return True
    if waiting[-1] < (_STALL if plain else 1) * handled.mean():
        return False
    gap = (arrived - handled).astype(np.float64)
    rate, chance = float(arrived.mean()), float(gap.std(ddof=1)) / np.sqrt(count)
    sure = _SURE if plain else _SURER
    if gap.mean() > max((least if plain else _MUCH) * rate, sure * chance):
        return True
    return _grows(waiting) and gap.mean() > max(_MUCH * rate, sure / 2 * chance)


def _grows(waiting: I64) -> bool:
    third = len(waiting) // 3
    return float(waiting[-third:].mean()) >= _GROWS * max(float(waiting[:third].mean()), 1.0)


def _never_empty(flow: Flow) -> bool:
    waiting = flow.waiting[flow.begins : flow.ends]
    return len(waiting) > 0 and float((waiting > 0).mean()) >= _NEVER_EMPTY


def _full_below(seen: Observed) -> dict[str, str]:
    """Caller → the first by name of its callees that are never without a queue. Nobody waits for
    what takes messages."""
    full = {flow.service for flow in together(seen.flows) if _never_empty(flow)}
    messages = set(np.unique(seen.hops.place[seen.hops.messages]).tolist())
    found: dict[str, str] = {}
    for number, place in enumerate(seen.hops.places):
        if place.callee in full and number not in messages:
            found[place.caller] = min(place.callee, found.get(place.caller, place.callee))
    return found


def _bottleneck(service: str, below: Mapping[str, str]) -> str:
    """The last callee on the way from the service that is never without a queue, or itself."""
    way = [service]
    while (callee := below.get(way[-1])) is not None and callee not in way:
        way.append(callee)
    return way[-1]


def _backlog(
    seen: Observed, service: str, behind: Sequence[str], found: Sequence[Behind]
) -> Candidate:
    """``found`` is of the first of those that fall ``behind``, for want of ``service``."""
    flow = found[0].flow
    rate, capacity, _, more = _figures(found)
    text = f"{behind[0]} falls behind: {_rates(found)}"
    where = Where(callee=service, operation=flow.operation, protocol=flow.protocol)
    asked = more * rate
    if service != behind[0]:
        own = [f for f in together(seen.flows) if f.service == service]
        arrived = median([float(f.arrived[f.begins : f.ends].mean()) for f in own])
        asked, capacity = arrived * asked / max(capacity, 1e-9), arrived
        where = Where(callee=service, operation=own[0].operation, protocol=own[0].protocol)
        text += f" It waits for {service}, which has a queue all the time"
        others = [name for name in behind[1:] if name != service]
        text += f", as {', '.join(others)} does." if others else "."
        flow = own[0]
    rows = _queued(seen, {service, *behind})
    return _told(seen, where, rows, text, _lacks(seen, flow, asked, capacity))


def _one_replica(seen: Observed, instance: str, found: Sequence[Behind]) -> Candidate:
    service = found[0].flow.service
    rows = _queued(seen, {service}, instance)
    where = Where(callee=service, operation=found[0].flow.operation, instance=instance)
    text = f"{instance} falls behind, and other replicas of {service} do not: {_rates(found)}"
    balanced = seen.facts.balances.get(service) in {None, "least_pending"}
    refactor = None if balanced else {"op": "set", "at": service, "balance": "least_pending"}
    return _told(seen, where, rows, text, refactor)


def _figures(found: Sequence[Behind]) -> tuple[float, float, int, float]:
    return (
        median([behind.rate for behind in found]),
        median([behind.capacity for behind in found]),
        int(median([behind.waiting for behind in found])),
        median([behind.flow.due_for_sent for behind in found]),
    )


def _rates(found: Sequence[Behind]) -> str:
    rate, capacity, waiting, more = _figures(found)
    flow, since = found[0].flow, found[0].since_s
    what = "messages" if flow.protocol == "kafka" else "requests"
    undropped = f" ({more * rate:.1f} without drops)" if more > 1.005 else ""
    gone = sum(int(behind.flow.left.sum()) for behind in found)
    late = gone - sum(int(behind.flow.handled.sum()) for behind in found)
    in_time = " in time" if late > _LATE * gone else ""
    when = f" from second {since} on" if since > 0 else ""
    return (
        f"{rate:.1f} {what} come in a second{undropped}{when}, and it handles {capacity:.1f}"
        f"{in_time}; when the {flow.measured_s} measured seconds ended, {waiting:,} were waiting."
    )


def _queued(seen: Observed, services: Iterable[str], instance: str | None = None) -> I32:
    """Spans that waited for a worker of theirs."""
    spans, role = seen.spans, seen.hops.role
    codes = [code for name in services if (code := spans.code(name)) >= 0]
    waited = np.isin(spans.service, codes) & (spans.queue > 0)
    waited &= (role == Kind.SERVER) | (role == Kind.CONSUMER)
    if instance is not None:
        waited &= spans.instance == spans.code(instance)
    return np.flatnonzero(waited).astype(np.int32)


def _told(
    seen: Observed, where: Where, rows: I32, text: str, refactor: Mapping[str, Any] | None
) -> Candidate:
    spans = seen.spans
    waited = np.where(seen.path.on_path[rows], spans.queue[rows], 0)
    if len(rows):
        text += f" The longest wait traced was {int(spans.queue[rows].max()) / NS_PER_MS:,.0f} ms."
    return conclude(
        seen,
        "queue.backlog",
        where,
        Shown(
            unit=seen.unit[rows],
            count=np.ones(len(rows), np.int64),
            cost=waited,
            saving=(np.zeros_like(waited), np.zeros_like(waited) if refactor is None else waited),
            rows=(np.arange(len(rows), dtype=np.int32), rows),
        ),
        units_with_place=len(np.unique(seen.unit[rows])),
        confidence="high",
        text=text,
        refactor=refactor,
    )


def _lacks(seen: Observed, flow: Flow, rate: float, capacity: float) -> dict[str, Any] | None:
    """The refactor that would give it room for ``rate`` a second, by what it handles now."""
    service, facts = flow.service, seen.facts
    replicas = facts.replicas.get(service)
    if replicas is None:
        return None
    workers = facts.workers.get(service)
    edge, partitions = facts.ordered.get((service, flow.operation or ""), ("", 0))
    in_order = (
        _in_order(flow, facts)
        and service not in facts.busy
        and (workers is None or partitions <= workers * replicas)
    )
    slots = partitions if in_order else replicas * (workers or 1)
    each_s = _handling_s(seen, service) if in_order or workers else 0.0
    if not each_s and not capacity:
        return None
    # Who retries what comes too late asks more often than there is to ask.
    rate /= _attempts(seen, service)
    needed = rate * (each_s or slots / capacity) / _ROOM
    at, key, has, more = service, "replicas", replicas, needed / (workers or 1)
    if in_order:
        at, key, has, more = edge, "partitions", partitions, needed
    elif workers is not None and service not in facts.busy:
        key, has, more = "workers", workers, needed / replicas
    count = max(ceil(more), has + 1)
    return None if count > MAX_REPLICAS else {"op": "set", "at": at, key: count}


def _handling_s(seen: Observed, service: str) -> float:
    """What a worker needs for a request that it brings to a good end, in the mean of those that
    had waited; 0 where no trace tells."""
    rows = _queued(seen, {service})
    ended = rows[~seen.spans.has(Flag.ERROR)[rows]]
    return float(seen.spans.handling[ended].mean()) / 1e9 if len(ended) else 0.0


def _attempts(seen: Observed, service: str) -> float:
    """For each call of the service."""
    of = [n for n, place in enumerate(seen.hops.places) if place.callee == service]
    attempts = int(np.isin(seen.hops.place, of).sum())
    return attempts / max(int(np.isin(seen.calls.place, of).sum()), 1) if attempts else 1.0
