"""Calls by the context that made them: what chattiness and fan-out both start from."""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from analysis.arrays import I32, I64, Bool, Integers, intervals
from analysis.arrays.grouping import counted, distinct, highest, summed
from analysis.arrays.intervals import line
from analysis.findings.observed import Observed
from analysis.traces.pairs import Edge


@dataclass(frozen=True)
class Siblings:
    """Some calls of the table, in groups: ``call`` and ``group`` are parallel."""

    seen: Observed
    call: I64
    group: I64
    first: I64
    """A position in ``call`` for each group."""

    @property
    def count(self) -> int:
        return len(self.first)

    @cached_property
    def size(self) -> I64:
        return counted(self.group, self.count)

    @cached_property
    def start(self) -> I64:
        return self.seen.calls.start[self.call]

    @cached_property
    def end(self) -> I64:
        return self.seen.calls.end[self.call]

    @cached_property
    def peak(self) -> I64:
        """Most calls in flight at once."""
        return intervals.peak(self.group, self.start, self.end, self.count)

    @cached_property
    def at_peak(self) -> Bool:
        """By member: it is in flight when most of its group are."""
        return intervals.at_peak(self.group, self.start, self.end, self.count)

    def most_besides(self, marked: Bool, above: int) -> I64:
        """Most calls in flight at once beside the marked ones, while more than ``above`` are."""
        return intervals.most_besides(
            self.group, self.start, self.end, self.count, marked=marked, above=above
        )

    @cached_property
    def union(self) -> I64:
        return intervals.union(self.group, self.start, self.end, self.count)

    @cached_property
    def total(self) -> I64:
        return summed(self.group, self.end - self.start, self.count)

    @cached_property
    def longest(self) -> I64:
        return highest(self.group, self.end - self.start, self.count)

    @cached_property
    def cost(self) -> I64:
        return summed(self.group, self.seen.call_cost[self.call], self.count)

    @cached_property
    def _by_group(self) -> tuple[I64, I64]:
        """Positions in order of their groups, and where each group begins among them."""
        order = np.argsort(self.group, kind="stable")
        return order, np.searchsorted(self.group[order], np.arange(self.count + 1))

    def members(self, groups: I64) -> tuple[I64, I64]:
        """Positions of the members of ``groups``, and for each the number of its group there."""
        order, bounds = self._by_group
        sizes = bounds[groups + 1] - bounds[groups]
        case = np.repeat(np.arange(len(groups)), sizes)
        within = np.arange(len(case)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return order[bounds[groups][case] + within], case

    def pick(self, groups: I64) -> Siblings:
        """Some groups, numbered as they are given."""
        member, case = self.members(groups)
        return of(self.seen, self.call[member], case)

    def at_least(self, size: int) -> Siblings:
        """The groups of at least so many calls."""
        return self.only(self.size >= size)

    def only(self, groups: Bool) -> Siblings:
        """The groups that are marked."""
        keep = groups[self.group]
        return of(self.seen, self.call[keep], self.group[keep])


def each(values: Integers) -> Iterator[tuple[int, I64]]:
    """Every distinct value, ascending, and where it stands."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    begins = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    for begin, end in zip(begins, [*begins[1:], len(order)], strict=True):
        yield int(ordered[begin]), order[begin:end]


def of(seen: Observed, call: I64, *by: Integers) -> Siblings:
    """``call`` grouped by the columns ``by``, which are parallel to it."""
    groups = distinct(*by)
    return Siblings(seen, call, groups.of, groups.first)


def by_edge(seen: Observed) -> Siblings:
    """All calls, by context and place."""
    calls = seen.calls
    return of(seen, np.arange(len(calls)), calls.context, calls.place)


def by_context(seen: Observed, call: I64 | None = None) -> Siblings:
    """All calls, or these, by context and caller."""
    calls = seen.calls
    call = np.arange(len(calls)) if call is None else call
    return of(seen, call, calls.context[call], seen.hops.caller[calls.place[call]])


def callers(groups: Siblings) -> I32:
    """By group, the number of the calling operation."""
    return groups.seen.hops.caller[groups.seen.calls.place[groups.call[groups.first]]]


def apart(groups: Siblings) -> Bool:
    """By member: it overlaps no other of its group."""
    on = line(groups.group, groups.start, groups.end, groups.count)
    # Of two that start at once, one without length is over before the other begins.
    order = np.lexsort((on.end, on.start))
    start, end = on.start[order], on.end[order]
    reached = np.maximum.accumulate(end)
    # Another group's calls lie before or after all of this one's, so neighbours are enough.
    free = np.ones(len(order), np.bool_)
    free[1:] &= start[1:] >= reached[:-1]
    free[:-1] &= start[1:] >= end[:-1]
    found = np.zeros(len(order), np.bool_)
    found[order] = free
    return found


def claims(seen: Observed, call: I64) -> dict[Edge, int]:
    """What these calls cost on each of their edges."""
    places = distinct(seen.calls.place[call])
    cost = summed(places.of, seen.call_cost[call], places.count)
    found: dict[Edge, int] = {}
    for number, ns in zip(
        seen.calls.place[call[places.first]].tolist(), cost.tolist(), strict=True
    ):
        edge = seen.hops.places[number].edge
        found[edge] = found.get(edge, 0) + ns
    return found


def unclaimed(groups: Siblings, taken: Set[Edge]) -> Siblings:
    """Without the calls of some edges."""
    place = groups.seen.calls.place[groups.call]
    used = np.unique(place)
    lost = [n for n in used.tolist() if groups.seen.hops.places[n].edge in taken]
    keep = ~np.isin(place, lost)
    return of(groups.seen, groups.call[keep], groups.group[keep])


def storms(seen: Observed) -> Siblings:
    """Calls grouped by context, where more than ``storm_peak`` are in flight at once; without those
    that overlap no other."""
    return stormy(by_context(seen))


def stormy(groups: Siblings) -> Siblings:
    """Those of the groups that are a storm, and of their calls those that overlap another."""
    groups = groups.at_least(groups.seen.settings.storm_peak + 1)
    groups = groups.only(groups.peak > groups.seen.settings.storm_peak)
    if groups.count == 0:
        return groups
    # What has no length counts where it is.
    keep = ~apart(groups) | (groups.end == groups.start)
    return of(groups.seen, groups.call[keep], groups.group[keep])


def stormy_contexts(seen: Observed) -> I32:
    groups = storms(seen)
    return seen.calls.context[groups.call[groups.first]]
