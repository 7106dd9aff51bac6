"""The critical path: which spans a root waited for, and when, to the nanosecond.

For a span x with window [lo, hi], take its synchronous children latest end first (then start, then
span id as text); ``t = x.hi``; a child c with ``c.hi <= t`` is on the path, the gap [c.hi, t] is
x's own time, then ``t = c.lo``; what is left down to ``x.lo`` is x's own. And so on below each
child that was chosen. The sections partition the root's window, so they add up to its duration.

No recursion, no loop over spans:

- windows are clipped top-down, which is a running maximum and minimum over ancestors;
- after that the child that follows c on the path (the last that ends by c's start) does not depend
  on what was chosen before, nor on x's ancestors. So each child has one successor, found by one
  binary search for all children of all traces, and what is chosen is what the successors reach;
- a span is on the path when it and all its ancestors were chosen.

A path's roots are the roots of the traces, orphans among them, and every CONSUMER that its
producer did not wait for. A child detached for another reason (FOLLOWS_FROM) is on no path.

What the named tools do is a policy. Sources: jaeger-ui ``TracePage/CriticalPath``, CRISP
``graph.py`` (``happensBefore``, ``sanitizeOverflowingChildren``), Kibana ``get_critical_path.ts``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from analysis.arrays import I32, I64, NONE, Bool
from analysis.arrays.forest import Forest
from analysis.arrays.intervals import side_by_side
from analysis.spans.table import Flag, Kind, SpanTable

Preset = Literal["reference", "jaeger", "crisp", "elastic"]


@dataclass(frozen=True, slots=True)
class Policy:
    overlap_tolerance: float
    """A predecessor may overlap by less than this share of the parent's duration, where it both
    starts and ends earlier and no other child starts or ends in the overlap (CRISP). 0: never."""
    overflow: Literal["clip", "drop_both", "drop_late"]
    """Of a child that leaves its parent's window: ``clip`` cuts it; ``drop_both`` cuts it too, but
    drops one that leaves at both ends (CRISP); ``drop_late`` drops one that ends after the parent
    and cuts the rest (Kibana). What lies outside altogether is dropped by all."""
    async_rule: Literal["detach", "producer_consumer", "follows_from", "none"]
    """Which children are not waited for: ``detach`` consumers and FOLLOWS_FROM;
    ``producer_consumer`` a CONSUMER below a PRODUCER (jaeger-ui); ``follows_from`` (CRISP, which
    reads CHILD_OF only)."""
    gap_tolerance: int
    """ns. A gap below it between two chosen children, or before the parent's end, is the earlier
    child's, not the parent's (Kibana: 1 ms, "attributed to clock skew")."""
    touching: bool
    """Whether a predecessor may end exactly where its successor starts. jaeger-ui says no
    (jaegertracing/jaeger#9148), CRISP only within its tolerance."""
    parent_pays_overlap: bool = False
    """In ``exclusive``, charge an overlap to the parent, as CRISP's arithmetic does (duration
    minus the children's durations), instead of to the child that is cut short."""


PRESETS: Final[dict[Preset, Policy]] = {
    "reference": Policy(0.0, "clip", "detach", 0, touching=True),
    "jaeger": Policy(0.0, "clip", "producer_consumer", 0, touching=False),
    "crisp": Policy(0.01, "drop_both", "follows_from", 0, touching=False, parent_pays_overlap=True),
    "elastic": Policy(0.0, "drop_late", "none", 1_000_000, touching=True),
}


class Sections(NamedTuple):
    """Stretches of the path in order of root, then time; they touch and never overlap."""

    root: I32
    """Row of the path's root."""
    row: I32
    """Row of the span whose own time it is."""
    start: I64
    end: I64


class _Chosen(NamedTuple):
    """The children on their parents' paths, and where each stops counting."""

    child: I32
    until: I64
    """The parent's ``hi``, or where the later chosen sibling starts."""


@dataclass(frozen=True)
class CriticalPath:
    """All arrays are parallel to the span table. ``lo``/``hi`` hold where ``inside``."""

    policy: Policy
    forest: Forest
    """Who waited for whom: the table's tree without detached children."""
    is_root: Bool
    inside: Bool
    """Within its parent's window at least in part, and all its ancestors, too."""
    lo: I64
    hi: I64
    on_path: Bool
    chosen: _Chosen

    @property
    def outside(self) -> int:
        """How many children lie outside their parents, who are inside."""
        parent = self.forest.parent
        lost = (parent >= 0) & ~self.inside
        return int((lost & self.inside[parent]).sum())

    @cached_property
    def root(self) -> I32:
        """The row of the path's root; -1 for what is detached from all."""
        root = self.forest.root
        return np.where(self.is_root[root], root, np.int32(NONE))

    @cached_property
    def inclusive(self) -> I64:
        """Time on the path of a span with all below it, ns."""
        end = self._cut if self._cut is not None else self.hi
        return np.where(self.on_path, end - np.minimum(self.lo, end), 0)

    @cached_property
    def exclusive(self) -> I64:
        """Time on the path of a span alone, ns. Sums to the root's duration over each path."""
        if self._cut is None or self.policy.parent_pays_overlap:
            own = np.where(self.on_path, self.hi - self.lo, 0)
            child = self.chosen.child[self.on_path[self.chosen.child]]
            np.subtract.at(own, self.forest.parent[child], own[child])
            if self.policy.gap_tolerance:
                return self._summed_sections(len(own))
            return own
        return self._summed_sections(len(self.lo))

    def below(self, parent: I32, since: I64, until: I64) -> I64:
        """Time on the path, ns, of the spans directly below ``parent``, from one moment to another
        within its window."""
        rows, of = np.unique(parent, return_inverse=True)
        if len(rows) == 0:
            return np.zeros(0, np.int64)
        shift = side_by_side(self.hi[rows] - self.lo[rows] + 1) - self.lo[rows]
        child = self.chosen.child[self.on_path[self.chosen.child]]
        place = np.minimum(np.searchsorted(rows, self.forest.parent[child]), len(rows) - 1)
        mine = rows[place] == self.forest.parent[child]
        child, place = child[mine], place[mine]
        # Those of one parent follow one another.
        lo = np.sort(self.lo[child] + shift[place])
        hi = np.sort(self.hi[child] + shift[place])
        passed = np.concatenate((np.zeros(1, np.int64), np.cumsum(hi - lo)))

        def before(at: I64) -> I64:
            begun = np.searchsorted(lo, at, side="right")
            going = np.where(begun > 0, np.concatenate((hi, at[:1]))[begun - 1] - at, 0)
            found: I64 = passed[begun] - np.maximum(going, 0)
            return found

        return before(until + shift[of]) - before(since + shift[of])

    def _summed_sections(self, rows: int) -> I64:
        own = np.zeros(rows, np.int64)
        at = self.sections
        np.add.at(own, at.row, at.end - at.start)
        return own

    @cached_property
    def _cut(self) -> I64 | None:
        """Where a span's subtree stops counting, for policies that choose overlapping children."""
        if not self.policy.overlap_tolerance:
            return None
        cut = self.hi.copy()
        cut[self.chosen.child] = np.minimum(cut[self.chosen.child], self.chosen.until)
        return self.forest.running(np.minimum, cut)

    @cached_property
    def sections(self) -> Sections:
        child, until = self.chosen
        on = self.on_path[child]
        child, until = child[on], until[on]
        parent = self.forest.parent[child]
        here = np.flatnonzero(self.on_path).astype(np.int32)
        # What is left below the first chosen child, or all of a span without any.
        first = self.hi.copy()
        np.minimum.at(first, parent, self.lo[child])
        owner = parent
        if self.policy.gap_tolerance:
            small = until - self.hi[child] < self.policy.gap_tolerance
            owner = np.where(small, child, parent)
        row = np.concatenate((owner, here))
        span = np.concatenate((parent, here))
        start = np.concatenate((self.hi[child], self.lo[here]))
        end = np.concatenate((until, first[here]))
        if self._cut is not None:
            end = np.minimum(end, self._cut[span])
        some = end > start
        row, start, end = row[some], start[some], end[some]
        root = self.root[row]
        order = np.lexsort((start, root))
        return Sections(root[order], row[order], start[order], end[order])


def critical_path(spans: SpanTable, policy: Policy) -> CriticalPath:
    """The critical path of every root of every trace."""
    waits, is_root = _waiting(spans, policy)
    forest = spans.forest if np.array_equal(waits, spans.parent) else Forest(waits)
    start, end = _recorded(spans)
    lo = forest.running(np.maximum, start)
    hi = forest.running(np.minimum, end)
    windows = _Windows(start, end, lo, hi)
    inside = forest.everywhere(_fits(waits, windows, policy))
    chosen = _choose(spans, np.where(inside, waits, np.int32(NONE)), windows, policy)
    mark = is_root.copy()
    mark[chosen.child] = True
    on_path = forest.everywhere(mark) & inside
    return CriticalPath(policy, forest, is_root, inside, lo, hi, on_path, chosen)


def _recorded(spans: SpanTable) -> tuple[I64, I64]:
    """Times as recorded, or as shifted for clock skew."""
    shifted = spans.has(Flag.SKEW_ADJUSTED)
    if not shifted.any():
        return spans.start, spans.end
    return np.where(shifted, spans.lo, spans.start), np.where(shifted, spans.hi, spans.end)


def _waiting(spans: SpanTable, policy: Policy) -> tuple[I32, Bool]:
    """The parent that waits for each span, -1 for none; and which spans are roots of paths."""
    parent = spans.parent
    has_parent = parent >= 0
    above = np.where(has_parent, spans.kind[parent], 0) if len(parent) else spans.kind
    consumer = spans.kind == Kind.CONSUMER
    match policy.async_rule:
        case "detach":
            detached = has_parent & spans.has(Flag.ASYNC)
        case "producer_consumer":
            detached = has_parent & consumer & (above == Kind.PRODUCER)
        case "follows_from":
            detached = has_parent & spans.has(Flag.FOLLOWS_FROM)
        case "none":
            detached = np.zeros(len(parent), np.bool_)
    return np.where(detached, np.int32(NONE), parent), ~has_parent | (
        detached & consumer & ~spans.has(Flag.STEP)
    )


class _Windows(NamedTuple):
    """By row: as recorded (or shifted for skew), and clipped to every ancestor's."""

    start: I64
    end: I64
    lo: I64
    hi: I64


def _fits(waits: I32, windows: _Windows, policy: Policy) -> Bool:
    """Whether a span counts in its parent's window, given that the parent counts in its own."""
    start, end, lo, hi = windows
    # A span of some length that only touches its parent has nothing in common with it.
    fits: Bool = (lo < hi) | ((lo == hi) & (start == end))
    if policy.overflow == "clip" or len(waits) == 0:
        return fits
    leaves = (waits >= 0) & (end > hi[waits])
    if policy.overflow == "drop_both":
        leaves &= start < lo[waits]
    fits &= ~leaves
    return fits


def _choose(spans: SpanTable, waits: I32, windows: _Windows, policy: Policy) -> _Chosen:
    """For every parent at once, the children on its path. ``waits`` is -1 for what is outside."""
    lo, hi = windows.lo, windows.hi
    child = np.flatnonzero(waits >= 0).astype(np.int32)
    if len(child) == 0:
        return _Chosen(child, np.zeros(0, np.int64))
    parent = waits[child]
    # All parents' windows side by side on one line: one sort and one search serve them all.
    length = hi - lo
    is_parent = np.zeros(len(waits), np.bool_)
    is_parent[parent] = True
    shift = side_by_side(np.where(is_parent, length + 1, 0)) - lo
    ends, starts = shift[parent] + hi[child], shift[parent] + lo[child]
    order = _by_end(ends, starts, child, spans)
    child, parent, ends, starts = child[order], parent[order], ends[order], starts[order]

    here = np.arange(len(child))
    group = np.concatenate(([True], parent[1:] != parent[:-1]))
    before_group = np.maximum.accumulate(np.where(group, here, 0)) - 1
    side: Literal["left", "right"] = "right" if policy.touching else "left"
    successor = np.minimum(np.searchsorted(ends, starts, side=side) - 1, here - 1)
    if policy.overlap_tolerance:
        successor = _overlapping(successor, ends, starts, length[parent], policy.overlap_tolerance)
    successor = np.where(successor > before_group, successor, NONE)

    last = np.concatenate((group[1:], [True]))
    marked = _reached(last, successor)
    until = hi[parent]
    later = np.flatnonzero(marked & (successor >= 0))
    until[successor[later]] = lo[child[later]]
    return _Chosen(child[marked], until[marked])


def _by_end(ends: I64, starts: I64, child: I32, spans: SpanTable) -> NDArray[np.intp]:
    """Ascending by end, then start, then span id as text. Ids are read only where times tie."""
    order = np.argsort(ends)
    ordered = ends[order]
    same = ordered[1:] == ordered[:-1]
    if not same.any():
        return order
    tied = np.zeros(len(order), np.bool_)
    tied[1:] |= same
    tied[:-1] |= same
    at = np.flatnonzero(tied)
    rows = order[at]
    ids = spans.span_ids.gather(spans.span[child[rows]].astype(np.int64))
    text = ids.rank("dense").to_numpy()
    order[at] = rows[np.lexsort((text, starts[rows], ends[rows]))]
    return order


def _overlapping(
    successor: NDArray[np.intp], ends: I64, starts: I64, window: I64, tolerance: float
) -> NDArray[np.intp]:
    """CRISP's exception: of all children, only the one that ends first at or after the start of
    the later one can be alone with it in the overlap."""
    here = np.arange(len(ends))
    candidate = np.searchsorted(ends, starts, side="left")
    end = ends[candidate]
    sorted_starts = np.sort(starts)
    started = np.searchsorted(sorted_starts, end, side="right") - np.searchsorted(
        sorted_starts, starts, side="left"
    )
    ended = np.searchsorted(ends, end, side="right") - candidate
    allowed = (
        (candidate < here)
        & (end < ends)
        & (starts[candidate] < starts)
        & (end - starts < tolerance * window)
        & (started + ended == 2)
    )
    return np.where(allowed, candidate, successor)


def _reached(start: Bool, successor: NDArray[np.intp]) -> Bool:
    """What following successors from ``start`` meets. Doubling: after k rounds, 2^k steps."""
    n = len(start)
    nowhere = n
    step = np.append(np.where(successor >= 0, successor, nowhere), nowhere)
    marked = np.append(start, False)
    while True:
        to = step[np.flatnonzero(marked)]
        to = to[to != nowhere]
        if len(to) == 0:
            return marked[:n]
        marked[to] = True
        step = step[step]
