"""Fan-out: what one context calls, and how its calls lie beside each other.

- *sequential*: calls of ``sequential_edges`` or more different edges that overlap no other call of
  their context and do not need each other's results. Repeats of one edge are chatty, not this.
  Fewer, from ``sequential_few`` on, are minor, and told only where a scenario says what they would
  save.
- *storm*: more than ``storm_peak`` calls in flight at once. A bound is proposed of an edge of
  which so few beside the others' are no storm any more.

Edges at which another finding is dearer (analysis/findings/claims.py) count in neither.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from analysis.arrays import I64
from analysis.arrays.grouping import counted, distinct, highest
from analysis.arrays.quantiles import median
from analysis.findings.analyzers.siblings import (
    Siblings,
    apart,
    by_context,
    callers,
    claims,
    each,
    of,
    storms,
    stormy,
    unclaimed,
)
from analysis.findings.finding import Where
from analysis.findings.observed import Candidate, Observed, Shown, conclude, of_calls
from analysis.traces.pairs import Edge, Place

_MOST_NAMES: Final = 12


def fanouts(seen: Observed) -> Iterator[Candidate]:
    yield from _sequential(seen)
    yield from _storms(seen)


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
    contexts = _of_enough_edges(by_context(seen, call), _least(seen))
    if contexts.count == 0:
        return
    contexts = _independent_only(seen, contexts)
    if contexts.count == 0:
        return
    for _, which in each(callers(contexts)):
        if found := _in_turn(contexts.pick(which)):
            yield found


def _of_enough_edges(contexts: Siblings, least: int) -> Siblings:
    """Those that call so many different ones."""
    edges = distinct(contexts.group, contexts.seen.calls.place[contexts.call])
    different = counted(contexts.group[edges.first], contexts.count)
    return contexts.only(different >= least)


def _least(seen: Observed) -> int:
    settings = seen.settings
    return settings.sequential_few if seen.facts.known else settings.sequential_edges


def _alone(seen: Observed) -> I64:
    """Calls that wait for an answer, are not chatty, and overlap no other of their context."""
    calls = seen.calls
    waits = np.flatnonzero(~seen.hops.messages[calls.first])
    if len(waits) == 0:
        return waits
    edges = of(seen, waits, calls.context[waits], calls.place[waits])
    few = edges.size[edges.group] < seen.settings.chatty_calls
    return waits[apart(by_context(seen, waits)) & few]


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
        if len(independent) >= _least(seen):
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


def _in_turn(contexts: Siblings) -> Candidate | None:
    """Of one calling operation; None where its contexts call too few edges."""
    seen = contexts.seen
    many = _of_enough_edges(contexts, seen.settings.sequential_edges)
    minor = many.count == 0
    contexts = _of_enough_edges(contexts, _least(seen)) if minor else many
    if contexts.count == 0:
        return None
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
    found = conclude(
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
        minor=minor,
    )
    return replace(
        found,
        claims=claims(seen, contexts.call),
        without=lambda taken: _in_turn(unclaimed(contexts, taken)),
    )


def _listed(names: list[str]) -> str:
    more = len(names) - _MOST_NAMES
    return ", ".join(names) if more <= 0 else f"{', '.join(names[:_MOST_NAMES])} and {more} more"


# -- storm -----------------------------------------------------------------------------------


def _storms(seen: Observed) -> Iterator[Candidate]:
    groups = storms(seen)
    if groups.count == 0:
        return
    for _, which in each(callers(groups)):
        yield _storm(groups.pick(which))


def _storm(groups: Siblings) -> Candidate:
    """Of one calling operation."""
    seen = groups.seen
    used = np.unique(seen.calls.place[groups.call]).tolist()
    where = common([seen.hops.places[number] for number in used])
    peak = int(median(groups.peak))
    critical = peak > seen.settings.storm_critical_peak
    edges = _AtPeak.of(groups, peak)
    bound = edges.bound(groups)
    rest = np.maximum(groups.union - groups.longest, 0)
    found = conclude(
        seen,
        "fanout.storm",
        where,
        Shown(
            unit=seen.unit[seen.calls.context[groups.call[groups.first]]],
            count=groups.size,
            cost=groups.cost,
            saving=(np.zeros_like(rest), np.zeros_like(rest) if bound is None else rest),
            rows=of_calls(seen, groups.group, groups.call),
        ),
        units_with_place=seen.units_with(where.caller or "", where.caller_operation or ""),
        confidence="high" if critical else "medium",
        text=(
            f"{where.caller}.{where.caller_operation} has {peak} calls in flight at once"
            f"{', a critical number' if critical else ''}: {edges.told(bound)}"
        ),
        refactor=bound,
    )

    def without(taken: Set[Edge]) -> Candidate | None:
        left = stormy(unclaimed(groups, taken))
        return _storm(left) if left.count else None

    return replace(found, claims=claims(seen, groups.call), without=without)


@dataclass(frozen=True)
class _AtPeak:
    """How many calls of each edge are in flight when most are: in the groups that have the typical
    peak, as most of them have it."""

    targets: Mapping[str, str]
    """By edge, as a scenario writes it."""
    names: list[str]
    """The edges, sorted."""
    number: I64
    """By member: of its edge, into ``names``."""
    calls: tuple[tuple[int, str], ...]
    """The most first; those that have none then are left out."""

    @classmethod
    def of(cls, groups: Siblings, peak: int) -> _AtPeak:
        """``peak`` is that of some group."""
        seen, place = groups.seen, groups.seen.calls.place[groups.call]
        at = {n: seen.hops.places[n] for n in np.unique(place).tolist()}
        targets = {seen.edge(its): its.target for its in at.values()}
        # Names settle what numbers of places, which come from the order of the input, must not.
        names = sorted(targets)
        numbers = np.zeros(len(seen.hops.places), np.int64)
        for n, its in at.items():
            numbers[n] = names.index(seen.edge(its))
        number = numbers[place]
        # A sum of random numbers tells how the calls are split (Zobrist hashing).
        random = np.random.default_rng(0).integers(0, 2**62, len(names), dtype=np.int64)
        then = np.flatnonzero(groups.at_peak)
        split = np.zeros(groups.count, np.int64)
        np.add.at(split, groups.group[then], random[number[then]])
        typical = np.flatnonzero(groups.peak == peak)
        _, first, often = np.unique(split[typical], return_index=True, return_counts=True)
        example = typical[first[np.argmax(often)]]
        calls = np.bincount(number[then[groups.group[then] == example]], minlength=len(names))
        in_turn = sorted(zip((-calls).tolist(), names, strict=True))
        return cls(targets, names, number, tuple((-many, name) for many, name in in_turn if many))

    def bound(self, groups: Siblings) -> dict[str, Any] | None:
        """Of one edge, if that makes it no storm; of the busiest that does."""
        most = groups.seen.settings.storm_peak
        for _, name in self.calls[: most + 1]:
            mine = self.number == self.names.index(name)
            left = most - int(median(groups.most_besides(mine, most)))
            if left >= 1:
                return {"op": "bound", "edge": name, "max": left}
        return None

    def told(self, bound: Mapping[str, Any] | None) -> str:
        if len(self.names) == 1:
            return "bound them."
        listed = _listed([f"{many} of {self.targets[name]}" for many, name in self.calls])
        if bound is None:
            return f"{listed}. No bound of one edge would do."
        return f"{listed}. Bound those of {self.targets[bound['edge']]}."
