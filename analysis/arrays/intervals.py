"""Sets of intervals, many groups at once: unions and peaks.

Integers are laid side by side on one number line (each starts where the one before it ended), so
that one sort and one running maximum serve them all. Times are int64 ns; the line's length is the
sum of the groups' extents, which int64 holds for 292 years.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.arrays import I64, Bool, Integers
from services.errors import BadInput


@dataclass(frozen=True, slots=True)
class Line:
    """Intervals of many groups on one number line. ``first`` is each group's place on it."""

    first: I64
    start: I64
    end: I64


def line(group: Integers, start: I64, end: I64, groups: int) -> Line:
    """Lay ``groups`` groups side by side; within a group, distances stay what they were."""
    least = np.full(groups, np.iinfo(np.int64).max)
    most = np.full(groups, np.iinfo(np.int64).min)
    np.minimum.at(least, group, start)
    np.maximum.at(most, group, end)
    some = most >= least
    extent = np.where(some, most - least, 0) + 1
    first = side_by_side(extent)
    shift = first - np.where(some, least, 0)
    return Line(first, start + shift[group], end + shift[group])


def side_by_side(extent: I64) -> I64:
    """Where each of several stretches begins, laid one behind the other from 0. Raises BadInput
    where clocks were so wrong that the whole is longer than int64 can say."""
    if extent.sum(dtype=np.float64) > np.iinfo(np.int64).max:
        raise BadInput(
            "calls of one request lie years apart: the times of these traces cannot be right",
            hint="leave out the traces of hosts whose clock was not set",
        )
    return np.cumsum(extent) - extent


def union(group: Integers, start: I64, end: I64, groups: int) -> I64:
    """For each group, the time that at least one of its intervals covers."""
    if len(group) == 0:
        return np.zeros(groups, dtype=np.int64)
    on = line(group, start, end, groups)
    order = np.argsort(on.start, kind="stable")
    begin, finish, of = on.start[order], on.end[order], group[order]
    before = np.concatenate((on.first[of[:1]], np.maximum.accumulate(finish)[:-1]))
    # What came before in another group ends before this group begins.
    added = np.maximum(finish - np.maximum(begin, before), 0)
    return _summed(of, added, groups)


def peak(group: Integers, start: I64, end: I64, groups: int) -> I64:
    """For each group, the most intervals in flight at one time.

    Where one ends as another starts, the end comes first. An interval without length is in flight
    for an instant: it counts.
    """
    if len(group) == 0:
        return np.zeros(groups, dtype=np.int64)
    at = _events(group, start, end, groups)
    return at.highest(np.cumsum(at.step), groups)


def at_peak(group: Integers, start: I64, end: I64, groups: int) -> Bool:
    """Which intervals are in flight when most of their group are, the first time that it is so."""
    if len(group) == 0:
        return np.zeros(0, dtype=np.bool_)
    at = _events(group, start, end, groups)
    level = np.cumsum(at.step)
    full = np.flatnonzero(level == at.highest(level, groups)[at.group])
    when = np.zeros(groups, dtype=np.int64)
    when[at.group[full[::-1]]] = at.time[full[::-1]]
    on = line(group, start, end, groups)
    then = when[group]
    lasts: Bool = (on.end > then) | (on.start == on.end) & (on.end == then)
    return (on.start <= then) & lasts


def most_besides(
    group: Integers, start: I64, end: I64, groups: int, *, marked: Bool, above: int
) -> I64:
    """For each group, the most intervals that are not marked in flight at one time, of the times
    when more than ``above`` are, whichever they are; 0 where there is none such."""
    if len(group) == 0:
        return np.zeros(groups, dtype=np.int64)
    at = _events(group, start, end, groups)
    besides = np.cumsum(np.where(marked[at.which], 0, at.step))
    return at.highest(np.where(np.cumsum(at.step) > above, besides, 0), groups)


@dataclass(frozen=True, slots=True)
class _Events:
    """Starts and ends, group by group in the order of time."""

    time: I64
    """On the line."""
    which: I64
    """Of the intervals."""
    group: Integers
    step: I64
    """1 for a start, -1 for an end."""

    def highest(self, level: I64, groups: int) -> I64:
        found = np.zeros(groups, dtype=np.int64)
        np.maximum.at(found, self.group, level)
        return found


def _events(group: Integers, start: I64, end: I64, groups: int) -> _Events:
    on = line(group, start, end, groups)
    n = len(group)
    # Three kinds of events at one time, in this order: ends, starts, ends of what has no length.
    empty = on.end == on.start
    time = np.concatenate((on.start, on.end))
    turn = np.concatenate((np.ones(n, np.int8), np.where(empty, 2, 0).astype(np.int8)))
    order = np.lexsort((turn, time))
    return _Events(time[order], order % n, group[order % n], np.where(order < n, 1, -1))


def _summed(group: Integers, values: I64, groups: int) -> I64:
    """Exact where a group's sum stays below 2^53 ns, 104 days."""
    return np.bincount(group, weights=values, minlength=groups).astype(np.int64)
