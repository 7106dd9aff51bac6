"""Clock skew: shift a process whose spans cannot lie where its clock says.

The rule is Jaeger's (jaegertracing/jaeger, ``clockskew.go``): a child of another process that does
not fit into its parent is moved, with all below it in the same process: into the middle of the
parent, as if both ways took equally long, or, where it is longer than its parent, to the parent's
start. Off unless asked for; a shift is a guess.
"""

from __future__ import annotations

import numpy as np

from analysis.arrays import I64
from analysis.arrays.forest import Forest


def shifts(forest: Forest, start: I64, end: I64, process: I64) -> I64:
    """For each span the ns to add to its times."""
    parent = forest.parent
    by = np.zeros(len(parent), np.int64)
    order = np.argsort(forest.depth, kind="stable")
    bounds = np.searchsorted(forest.depth[order], np.arange(int(forest.depth.max(initial=0)) + 2))
    # Level by level: a parent's own shift comes first.
    for level in range(1, len(bounds) - 1):
        child = order[bounds[level] : bounds[level + 1]]
        above = parent[child]
        begin, finish = start[above] + by[above], end[above] + by[above]
        length, room = end[child] - start[child], finish - begin
        fits = (start[child] >= begin) & (end[child] <= finish)
        middle = begin + np.maximum(room - length, 0) // 2
        same = process[child] == process[above]
        by[child] = np.where(same, by[above], np.where(fits, 0, middle - start[child]))
    return by
