"""Sets of intervals, many groups at once: unions and peaks.

Integers are laid side by side on one number line (each starts where the one before it ended), so
that one sort and one running maximum serve them all. Times are int64 ns; the line's length is the
sum of the groups' extents, which int64 holds for 292 years.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.arrays import I64, Integers
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
    on = line(group, start, end, groups)
    n = len(group)
    # Three kinds of events at one time, in this order: ends, starts, ends of what has no length.
    empty = on.end == on.start
    time = np.concatenate((on.start, on.end))
    turn = np.concatenate((np.ones(n, np.int8), np.where(empty, 2, 0).astype(np.int8)))
    order = np.lexsort((turn, time))
    step = np.where(order < n, 1, -1)
    level = np.cumsum(step)
    of = np.concatenate((group, group))[order]
    highest = np.zeros(groups, dtype=np.int64)
    np.maximum.at(highest, of, level)
    return highest


def _summed(group: Integers, values: I64, groups: int) -> I64:
    """Exact where a group's sum stays below 2^53 ns, 104 days."""
    return np.bincount(group, weights=values, minlength=groups).astype(np.int64)
