"""Fan-out: what one context calls, and how its calls lie beside each other.

- *sequential*: calls of ``sequential_edges`` or more different edges that overlap no other call of
  their context and do not need each other's results. Repeats of one edge are chatty, not this.
- *storm*: more than ``storm_peak`` calls in flight at once.
- *straggler*: among overlapping calls of one edge, one that takes ``straggler_ratio`` times the
  median of its siblings. It costs what the context waited for it alone: from the end of the last
  call that does not straggle to the end of the last that does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np

from analysis.arrays import I32, I64, Bool
from analysis.arrays.grouping import counted, distinct, highest, summed
from analysis.arrays.intervals import line
from analysis.arrays.quantiles import median, rank
from analysis.findings.analyzers.siblings import (
    Siblings,
    by_context,
    by_edge,
    callers,
    each,
    of,
    storms,
)
from analysis.findings.finding import Confidence, Where
from analysis.findings.observed import Candidate, Observed, Shown, conclude, of_calls, where_of
from analysis.traces.pairs import Place
from services.scenario.text.units import time_text

_MOST_NAMES: Final = 12


def fanouts(seen: Observed) -> Iterator[Candidate]:
    yield from _sequential(seen)
    yield from _storms(seen)
    yield from _stragglers(seen)


def common(places: list[Place]) -> Where:
    """Where several edges of one calling operation are: None where they differ."""

    def same(values: set[str | None]) -> str | None:
        return next(iter(values)) if len(values) == 1 else None

    targets = {p.target for p in places}
    return Where(
        caller=places[0].caller,
        caller_operation=places[0].caller_operation,
        callee=same({p.callee for p in places}),
        operation=same({p.operation for p in places}) if len(targets) == 1 else None,
        protocol=same({p.protocol for p in places}),
    )


# -- sequential ------------------------------------------------------------------------------


def _sequential(seen: Observed) -> Iterator[Candidate]:
    call = _alone(seen)
    if len(call) == 0:
        return
    contexts = by_context(seen, call)
    edges = distinct(contexts.group, seen.calls.place[call])
    different = counted(contexts.group[edges.first], contexts.count)
    contexts = contexts.only(different >= seen.settings.sequential_edges)
    if contexts.count == 0:
        return
    contexts = _independent_only(seen, contexts)
    if contexts.count == 0:
        return
    for _, which in each(callers(contexts)):
        yield _in_turn(seen, contexts.pick(which))


def _alone(seen: Observed) -> I64:
    """Calls that wait for an answer, are not chatty, and overlap no other of their context."""
    calls = seen.calls
    waits = np.flatnonzero(~seen.hops.messages[calls.first])
    if len(waits) == 0:
        return waits
    edges = of(seen, waits, calls.context[waits], calls.place[waits])
    few = edges.size[edges.group] < seen.settings.chatty_calls
    groups = by_context(seen, waits)
    on = line(groups.group, groups.start, groups.end, groups.count)
    # Of two that start at once, one without length is over before the other begins.
    order = np.lexsort((on.end, on.start))
    start, end = on.start[order], on.end[order]
    reached = np.maximum.accumulate(end)
    # Another context's calls lie before or after all of this one's, so neighbours are enough.
    apart = np.ones(len(order), np.bool_)
    apart[1:] &= start[1:] >= reached[:-1]
    apart[:-1] &= start[1:] >= end[:-1]
    alone = np.zeros(len(order), np.bool_)
    alone[order] = apart
    return waits[alone & few]


def _independent_only(seen: Observed, contexts: Siblings) -> Siblings:
    """The calls that need none of the others, where there are enough of them.

    That is the same for all contexts that call the same edges. A set of edges is told by the sum
    of its members' random numbers (Zobrist hashing), 62 bits of them.
    """
    place = seen.calls.place[contexts.call]
    edges = distinct(contexts.group, place)
    numbers = np.random.default_rng(0).integers(0, 2**62, len(seen.hops.places), dtype=np.int64)
    signature = np.zeros(contexts.count, np.int64)
    np.add.at(signature, contexts.group[edges.first], numbers[place[edges.first]])
    sets = distinct(signature)

    in_turn = np.lexsort((contexts.start, contexts.group))
    bounds = np.searchsorted(contexts.group[in_turn], np.arange(contexts.count + 1))
    width = len(seen.hops.places)
    allowed: list[int] = []
    for number, example in enumerate(sets.first.tolist()):
        members = in_turn[bounds[example] : bounds[example + 1]]
        independent = _independent(seen, list(dict.fromkeys(place[members].tolist())))
        if len(independent) >= seen.settings.sequential_edges:
            allowed += [number * width + edge for edge in independent]
    keep = np.isin(sets.of[contexts.group] * width + place, allowed)
    return of(seen, contexts.call[keep], contexts.group[keep])


def _independent(seen: Observed, places: list[int]) -> list[int]:
    """As many of the edges as need none of the others, earliest first."""
    chosen: list[int] = []
    targets: set[str] = set()
    for number in places:
        at = seen.hops.places[number]
        if targets.isdisjoint(seen.needs.get((at.caller, at.caller_operation, at.target), ())):
            chosen.append(number)
            targets.add(at.target)
    return chosen


def _in_turn(seen: Observed, contexts: Siblings) -> Candidate:
    """Of one calling operation."""
    used = np.unique(seen.calls.place[contexts.call])
    places = [seen.hops.places[number] for number in used.tolist()]
    at = places[0]
    cost = contexts.cost
    dearest = highest(contexts.group, seen.call_cost[contexts.call], contexts.count)
    known = seen.facts.known
    edges = distinct(contexts.group, seen.calls.place[contexts.call])
    typical = int(median(counted(contexts.group[edges.first], contexts.count)))
    text = (
        f"{at.caller}.{at.caller_operation} calls {typical} different operations one after "
        f"another ({_listed(sorted({p.target for p in places}))})"
    )
    text += (
        ", and none of them needs another's result."
        if known
        else ". Whether one needs another's result does not show in traces: taken as independent."
    )
    return conclude(
        seen,
        "fanout.sequential",
        common(places),
        Shown(
            unit=seen.unit[seen.calls.context[contexts.call[contexts.first]]],
            count=contexts.size,
            cost=cost,
            saving=(np.zeros_like(cost), cost - dearest),
            rows=of_calls(seen, contexts.group, contexts.call),
        ),
        units_with_place=seen.units_with(at.caller, at.caller_operation),
        confidence="high" if known else "low",
        text=text,
        refactor={"op": "parallelize", "at": f"{at.caller}.{at.caller_operation}"},
    )


def _listed(names: list[str]) -> str:
    more = len(names) - _MOST_NAMES
    return ", ".join(names) if more <= 0 else f"{', '.join(names[:_MOST_NAMES])} and {more} more"


# -- storm -----------------------------------------------------------------------------------


def _storms(seen: Observed) -> Iterator[Candidate]:
    groups = storms(seen)
    if groups.count == 0:
        return
    context = seen.calls.context[groups.call[groups.first]]
    for _, which in each(callers(groups)):
        member, case = groups.members(which)
        call = groups.call[member]
        used = seen.calls.place[call]
        numbers, calls = np.unique(used, return_counts=True)
        places = [seen.hops.places[number] for number in numbers.tolist()]
        where = common(places)
        # Names settle what numbers of places, which come from the order of the input, must not.
        busiest = min(zip(-calls, (seen.edge(place) for place in places), strict=True))[1]
        peak = int(median(groups.peak[which]))
        critical = peak > seen.settings.storm_critical_peak
        rest = np.maximum(groups.union[which] - groups.longest[which], 0)
        yield conclude(
            seen,
            "fanout.storm",
            where,
            Shown(
                unit=seen.unit[context[which]],
                count=groups.size[which],
                cost=groups.cost[which],
                saving=(np.zeros_like(rest), rest),
                rows=of_calls(seen, case, call),
            ),
            units_with_place=seen.units_with(where.caller or "", where.caller_operation or ""),
            confidence="high" if critical else "medium",
            text=(
                f"{where.caller}.{where.caller_operation} has {peak} calls in flight at once"
                f"{', a critical number' if critical else ''}: bound them."
            ),
            refactor={
                "op": "bound",
                "edge": busiest,
                "max": seen.settings.storm_peak,
            },
        )


# -- straggler -------------------------------------------------------------------------------


_MOST: Final = 0.5
"""Of the requests: what happens in so many happens at the P50."""


class _Late(NamedTuple):
    groups: Siblings
    slow: Bool
    """By member: it straggles."""
    middle: I64
    """By group: the median duration, ns."""
    cost: I64
    """By group: what was waited for stragglers alone, on the critical path."""


def _stragglers(seen: Observed) -> Iterator[Candidate]:
    groups = by_edge(seen).at_least(seen.settings.straggler_siblings)
    groups = groups.only(groups.peak >= 2)
    if groups.count == 0:
        return
    late = _late(seen, groups)
    place = seen.calls.place[groups.call[groups.first]]
    struck = counted(groups.group[late.slow], groups.count) > 0
    for number, of_place in each(place):
        which = of_place[struck[of_place]]
        if len(which):
            yield _straggling(late, seen.hops.places[number], of_place, which)


def _late(seen: Observed, groups: Siblings) -> _Late:
    duration = groups.end - groups.start
    order = np.lexsort((duration, groups.group))
    begins = np.searchsorted(groups.group[order], np.arange(groups.count))
    middle_at = begins + np.array([rank(50, int(n)) for n in groups.size], np.int64)
    middle = duration[order][middle_at]
    slow = (duration >= seen.settings.straggler_ratio * middle[groups.group]) & (duration > 0)
    least = int(groups.start.min())
    usual_end = highest(groups.group[~slow], groups.end[~slow] - least, groups.count)
    last_end = highest(groups.group, groups.end - least, groups.count)
    alone = np.maximum(last_end - usual_end, 0)
    waited = summed(groups.group[slow], seen.call_cost[groups.call[slow]], groups.count)
    return _Late(groups, slow, middle, np.minimum(alone, waited))


def _straggling(late: _Late, at: Place, of_place: I64, which: I64) -> Candidate:
    """``of_place`` are the groups of this place, ``which`` those of them that straggle."""
    groups, seen = late.groups, late.groups.seen
    member, case = groups.members(which)
    member, case = member[late.slow[member]], case[late.slow[member]]
    siblings, _ = groups.members(of_place)
    instance = _stands_out(seen, groups, siblings, late.slow)
    typical = median(late.middle[which])
    longest = highest(case, (groups.end - groups.start)[member], len(which))
    share = float(late.slow[siblings].mean())
    size = int(median(groups.size[which]))
    times = median(longest) / max(typical, 1)
    struck, all_ = (len(np.unique(_units(groups, these))) for these in (which, of_place))
    text = (
        f"Of {size} calls of {at.target} at once, the slowest takes {times:.1f} times the median; "
        f"{share:.0%} of single calls straggle, in {struck:,} of {all_:,} requests"
    )
    text += f". Most of them are answered by {instance}." if instance else "."
    took = (groups.end - groups.start)[siblings]
    usual = np.sort(took[~late.slow[siblings]])
    delay = _two_digits_up(int(usual[rank(95, len(usual))]))
    after = time_text(float(delay))
    # A topic has no other replica to ask, and a message no answer to wait for.
    asks = (
        at.protocol != "kafka"
        and not seen.hops.messages[seen.calls.first[groups.call[member]]].any()
    )
    hedgeable = asks and (not seen.facts.known or seen.facts.replicas.get(at.callee, 1) > 1)
    confidence: Confidence = "high" if instance else "medium"
    refactor: dict[str, Any] | None = None
    # A hedge waits for the delay before it asks again, and then for another median.
    gain = (late.cost[which] - delay, late.cost[which])
    if hedgeable:
        refactor = {"op": "hedge", "edge": seen.edge(at), "after": after}
        text += f" Hedged after {after}, {(took > delay).mean():.0%} of the calls are sent twice"
        # Where it is chance, and no instance, the second attempt is as often slow as the first.
        still = 0.0 if instance else 1 - (1 - share**2) ** size
        if still > 0:
            text += f", and by chance both are slow in {still:.0%} of requests"
        text += "."
        if still >= _MOST:
            refactor, gain = None, (np.zeros_like(gain[0]), np.zeros_like(gain[1]))
    return conclude(
        seen,
        "fanout.straggler",
        where_of(at, instance),
        Shown(
            unit=_units(groups, which),
            count=groups.size[which],
            cost=late.cost[which],
            saving=gain,
            rows=of_calls(seen, case, groups.call[member]),
        ),
        units_with_place=seen.units_with(at.caller, at.caller_operation),
        confidence=confidence,
        text=text,
        refactor=refactor,
    )


def _units(groups: Siblings, which: I64) -> I32:
    seen = groups.seen
    return seen.unit[seen.calls.context[groups.call[groups.first[which]]]]


def _stands_out(seen: Observed, groups: Siblings, siblings: I64, slow: Bool) -> str | None:
    """The instance that answers most of the straggling calls, and more than its share."""
    calls = groups.call[siblings]
    # The attempt that was asked first tells who straggles, also where a hedge answered.
    server = seen.hops.server[seen.calls.first[calls]]
    instance = np.where(server >= 0, seen.spans.instance[server], -1)
    late = slow[siblings] & (instance >= 0)
    if not late.any():
        return None
    answered = np.bincount(instance[instance >= 0])
    straggled = np.bincount(instance[late], minlength=len(answered))
    worst = int(straggled.argmax())
    share = straggled[worst] / late.sum()
    expected = answered[worst] / answered.sum()
    if len(np.flatnonzero(answered)) < 2:
        return None
    settings = seen.settings
    if share < settings.instance_share or share < settings.instance_excess * expected:
        return None
    return seen.spans.name(worst)


def _two_digits_up(ns: int) -> int:
    """A time a person would write, no shorter."""
    unit: int = 10 ** max(len(str(ns)) - 2, 0)
    return max(-(-ns // unit), 1) * unit
