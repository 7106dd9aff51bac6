"""Chains: services that wait for each other, one behind the other.

``sync_hops`` counts client→server edges between different services from a path's root to a leaf; a
span count would count every call twice, and a message breaks the chain. The longest chain of each
operation that begins one is reported, where it has ``chain_hops`` or more.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np

from analysis.arrays import I32, I64, intervals
from analysis.arrays.grouping import distinct, summed
from analysis.arrays.quantiles import NS_PER_MS, median
from analysis.findings.finding import Hop, Where
from analysis.findings.observed import Candidate, Observed, Shown, conclude
from analysis.traces.pairs import Place

_SHOWN_ENDS: Final = 8


class _Crossings(NamedTuple):
    """Where a trace passes from one service to another. Arrays by span row."""

    hop: I32
    """The hop that leads to this span; -1 where none does."""
    depth: I32
    """sync_hops from the path's root."""


class _Ends(NamedTuple):
    """The last hops of the longest chains, one a unit; parallel arrays."""

    row: I32
    unit: I32
    chain: I64
    """Equal where the chains are equal."""


def chains(seen: Observed) -> Iterator[Candidate]:
    crossings = _crossings(seen)
    ends = _longest(seen, crossings)
    if ends is None:
        return
    for number in np.unique(ends.chain).tolist():
        here = ends.chain == number
        yield _candidate(seen, crossings, ends.row[here], ends.unit[here])


def _crossings(seen: Observed) -> _Crossings:
    spans, hops = seen.spans, seen.hops
    at = np.flatnonzero((hops.server >= 0) & ~hops.messages)
    above = np.where(hops.client[at] >= 0, hops.client[at], spans.parent[hops.server[at]])
    at = at[spans.service[above] != spans.service[hops.server[at]]]
    hop = np.full(len(spans), -1, np.int32)
    hop[hops.server[at]] = at
    step = ((hop >= 0) & (seen.path.forest.parent >= 0)).astype(np.int32)
    return _Crossings(hop, seen.path.forest.summed(step))


def _longest(seen: Observed, crossings: _Crossings) -> _Ends | None:
    """For each operation that begins some the longest chain, the dearest of several; its ends by
    unit."""
    spans, hops = seen.spans, seen.hops
    end = np.flatnonzero(
        (crossings.hop >= 0) & (crossings.depth >= seen.settings.chain_hops)
    ).astype(np.int32)
    if len(end) == 0:
        return None
    begins = (crossings.hop >= 0) & (crossings.depth == 1)
    first_hop = np.where(begins[end], end, seen.path.forest.nearest(begins)[end])
    caller = distinct(hops.caller[hops.place[crossings.hop[first_hop]]])
    deepest = np.zeros(caller.count, np.int32)
    np.maximum.at(deepest, caller.of, crossings.depth[end])
    keep = crossings.depth[end] == deepest[caller.of]
    end, of_caller = end[keep], caller.of[keep]

    signature = _signatures(seen, crossings)[end]
    kinds = distinct(of_caller, signature)
    cost = summed(kinds.of, seen.path.inclusive[end], kinds.count)
    # Equal cost is settled by names, which do not depend on the order of rows.
    last = spans.operation[end[kinds.first]]
    names = [f"{spans.name(int(c))}" for c in last.tolist()]
    by_name = np.argsort(np.argsort(np.array(names, dtype=object), kind="stable"), kind="stable")
    order = np.lexsort((by_name, -cost, of_caller[kinds.first]))
    owner = of_caller[kinds.first][order]
    best = order[np.concatenate(([True], owner[1:] != owner[:-1]))]
    keep = np.isin(kinds.of, best)
    end, chain = end[keep], kinds.of[keep]
    # A root that ends such a chain several times shows it by the dearest.
    root = seen.path.forest.root[end]
    order = np.lexsort((spans.start[end], -seen.path.inclusive[end], root, chain))
    again = (root[order][1:] == root[order][:-1]) & (chain[order][1:] == chain[order][:-1])
    first = order[np.concatenate(([True], ~again))]
    return _Ends(end[first], root[first].astype(np.int32), chain[first])


def _signatures(seen: Observed, crossings: _Crossings) -> I64:
    """A number for the (service, operation) sequence from the root to each row.

    A sum over the way down of random numbers drawn for operation and position: it changes with the
    order, and two chains agree by accident once in 2^62 pairs.
    """
    spans = seen.spans
    step = np.flatnonzero(crossings.hop >= 0)
    place = distinct(spans.service[step], spans.operation[step], crossings.depth[step])
    numbers = np.random.default_rng(0).integers(0, 2**62, place.count, dtype=np.int64)
    total = np.zeros(len(spans), np.int64)
    total[step] = numbers[place.of]
    total[seen.path.forest.parent < 0] = 0
    for up in seen.path.forest.lifts:
        total = total + total[up]  # wraps around, and means the same
    return total


def _candidate(seen: Observed, crossings: _Crossings, end: I32, unit: I32) -> Candidate:
    hops = seen.hops
    way = _way(seen, crossings, end)
    ways = [hops.places[int(hops.place[crossings.hop[column[0]]])] for column in way]
    calls = [hops.caller_end[crossings.hop[column]] for column in way]
    first, last = ways[0], ways[-1]
    protocols = {p.protocol for p in ways}
    cost = seen.path.inclusive[calls[0]]
    taxes = [_known(hops.tax[crossings.hop[column]]) for column in way]
    refactor, cut = _cure(seen, ways, taxes)
    if refactor["op"] == "asyncify":
        waited = seen.path.inclusive[calls[cut]]
        saving = (waited - 2 * int(taxes[cut]), waited)
        advice = f"Nothing waits for {ways[cut].target}: it could be told by a message."
    else:
        saving = (np.zeros_like(cost), np.full_like(cost, int(taxes[cut])))
        advice = f"Every answer is needed; {ways[cut].target} could run within its caller."
    if not seen.facts.known:
        advice = "Whether an answer is needed does not show in traces. " + advice
    errors = [float(hops.error[crossings.hop[column]].mean()) for column in way]
    chance = 1.0
    for error in errors:
        chance *= 1 - error
    text = (
        f"{first.caller}.{first.caller_operation} waits for {len(ways)} hops, one behind the "
        f"other: {_drawn([first.caller, *(p.callee for p in ways)])}. "
    )
    if chance < 1:
        text += f"Their error rates multiply up to {1 - chance:.1%}. "
    else:
        text += f"If each fails once in 1,000, {1 - 0.999 ** len(ways):.1%} of requests fail. "
    rows = np.concatenate([np.stack((calls[i], way[i])) for i in range(len(way))])
    return conclude(
        seen,
        "chain",
        Where(
            caller=first.caller,
            caller_operation=first.caller_operation,
            callee=last.callee,
            operation=last.operation,
            protocol=first.protocol if len(protocols) == 1 else None,
        ),
        Shown(
            unit=unit,
            count=crossings.depth[end].astype(np.int64),
            cost=cost,
            saving=saving,
            rows=(
                np.tile(np.arange(len(end), dtype=np.int32), len(rows)),
                rows.reshape(-1).astype(np.int32),
            ),
        ),
        units_with_place=seen.units_with(first.caller, first.caller_operation),
        confidence="high" if seen.facts.known else "low",
        text=text + advice,
        refactor=refactor,
        hops=_described(seen, crossings, way, ways, taxes),
    )


def _drawn(services: list[str]) -> str:
    """``a → b → c``; of a long way, both ends."""
    if len(services) > 2 * _SHOWN_ENDS:
        services = [*services[:_SHOWN_ENDS], "…", *services[-_SHOWN_ENDS:]]
    return " → ".join(services)


def _way(seen: Observed, crossings: _Crossings, end: I32) -> list[I32]:
    """The served spans from the first hop to the last, a column of rows for each."""
    above = seen.path.forest.nearest(crossings.hop >= 0)
    columns = [end]
    for _ in range(int(crossings.depth[end[0]]) - 1):
        columns.append(above[columns[-1]])
    columns.reverse()
    return columns


def _cure(seen: Observed, ways: list[Place], taxes: list[float]) -> tuple[dict[str, Any], int]:
    """Asyncify the first hop whose answer no later step needs; else merge the dearest hop."""
    for number, at in enumerate(ways):
        if not seen.facts.needed(at.caller, at.caller_operation, at.target):
            return {"op": "asyncify", "edge": seen.edge(at)}, number
    number = max(range(len(ways)), key=lambda i: (taxes[i], -i))
    return {"op": "merge", "edge": seen.edge(ways[number])}, number


def _described(
    seen: Observed,
    crossings: _Crossings,
    way: list[I32],
    ways: list[Place],
    taxes: list[float],
) -> tuple[Hop, ...]:
    spans, calls = seen.spans, seen.calls
    waits = np.flatnonzero(~seen.hops.messages[calls.first])
    waiting = np.zeros(len(spans), np.int64)
    context = distinct(calls.context[waits])
    waiting[calls.context[waits][context.first]] = intervals.union(
        context.of, calls.start[waits], calls.end[waits], context.count
    )
    start = seen.hops.context[crossings.hop[way[0]]]
    served = [start, *way]
    names = [(ways[0].caller, ways[0].caller_operation), *((p.callee, p.operation) for p in ways)]
    found = []
    for number, (rows, (service, operation)) in enumerate(zip(served, names, strict=True)):
        duration = spans.duration[rows]
        own = np.maximum(duration - waiting[rows], 0)
        found.append(
            Hop(
                service=service,
                operation=operation,
                duration_ms=median(duration) / NS_PER_MS,
                self_ms=median(own) / NS_PER_MS,
                tax_ms=None if number == 0 else taxes[number - 1] / NS_PER_MS,
            )
        )
    return tuple(found)


def _known(tax: I64) -> float:
    return median(tax[tax >= 0])
