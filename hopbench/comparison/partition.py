"""Where the time of a request goes, by call path and edge: parts that add up to it, exactly.

The critical path cuts the duration of a request into stretches, each of one span alone. A stretch
belongs to the edge by which its work was asked for: of a client span to that call's, of anything
else to the one that led to the operation which it is part of. What the entry does itself belongs to
no edge, and is named by the entry. So a call's edge has its wire and the callee's own time, and
what the callee waits for belongs to edges further on. An edge that several call paths lead to has
a part in each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from analysis.analyse import observe
from analysis.arrays import NONE
from analysis.arrays.grouping import counted, distinct, summed
from analysis.arrays.quantiles import NS_PER_MS
from analysis.findings.observed import Observed
from analysis.findings.settings import Settings
from hopbench.runs import trial
from hopbench.runs.directory import RunDir
from hopbench.runs.plan import RunPlan, Turn
from services.scenario.facts import facts_of

T = TypeVar("T", int, float)
Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Path:
    """How a request came to a part of the work: through which operations, its entry first."""

    operations: tuple[str, ...]
    edge: str
    """The last step, ``caller.operation->callee.operation``; of the entry alone, that."""

    @property
    def entry(self) -> str:
        return self.operations[0]

    def __str__(self) -> str:
        return " > ".join(self.operations)


@dataclass(frozen=True, slots=True)
class Parts:
    """Of a partition by some name."""

    ms: Mapping[str, float]
    """They add up to the mean duration."""
    calls: Mapping[str, float]
    """Logical calls, on the critical path or not: per request of the entries that lead to them, so
    that an entry beside these does not thin them out."""


@dataclass(frozen=True)
class Partition:
    """Of the sampled requests of one round whose trace is complete."""

    requests: Mapping[str, int]
    """By entry."""
    root_ms: float
    """Mean duration at the entry."""
    hops: float
    """Calls on the critical path, attempts and all, per request."""
    ms: Mapping[Path, float]
    """Of that mean; they add up to it."""
    calls: Mapping[Path, int]
    """Logical calls, by all requests."""

    @cached_property
    def by_edge(self) -> Parts:
        return self._by(lambda path: path.edge)

    @cached_property
    def by_path(self) -> Parts:
        return self._by(str)

    def _by(self, name: Callable[[Path], str]) -> Parts:
        ms: dict[str, float] = {}
        made: dict[str, int] = {}
        entries: dict[str, set[str]] = {}
        for path, each in self.ms.items():
            ms[name(path)] = ms.get(name(path), 0.0) + each
        for path, count in self.calls.items():
            made[name(path)] = made.get(name(path), 0) + count
            entries.setdefault(name(path), set()).add(path.entry)
        calls = {
            called: count / sum(self.requests[entry] for entry in entries[called])
            for called, count in made.items()
        }
        return Parts(ms, calls)


def partition(run: RunDir, planned: RunPlan, turn: Turn) -> Partition | None:
    """None where no trace of the round is complete."""
    found = trial.read(run, planned, turn)
    if found is None:
        return None
    facts = facts_of(planned.scenarios[turn.variant])
    return parts(observe(found.measured_spans(), facts, Settings(), "run"))


def parts(seen: Observed) -> Partition | None:
    """Messages that nobody waited for are no part of a request's duration."""
    spans, path = seen.spans, seen.path
    roots = np.flatnonzero(path.is_root & path.on_path & (spans.parent < 0))
    if len(roots) == 0:
        return None
    of, paths = _paths(seen, roots)
    waited = np.zeros(len(spans), np.bool_)
    waited[roots] = True
    on = np.flatnonzero(path.on_path & (path.root >= 0) & waited[path.root])
    total = summed(of[on], path.exclusive[on], len(paths))
    count = len(roots)
    requests = counted(of[roots], len(paths))
    return Partition(
        requests={paths[at].entry: int(requests[at]) for at in np.flatnonzero(requests)},
        root_ms=int((path.hi - path.lo)[roots].sum()) / count / NS_PER_MS,
        hops=_waited(seen, waited) / count,
        ms=_by_path(paths, (total / NS_PER_MS / count).tolist()),
        calls=_by_path(paths, _calls(seen, of, len(paths)).tolist()),
    )


def _paths(seen: Observed, roots: Rows) -> tuple[Rows, list[Path]]:
    """Of every span its path, as a number into the second; NONE where it is below no root."""
    spans, hops = seen.spans, seen.hops
    place = np.full(len(spans), NONE, np.int64)
    for ends in (hops.client, hops.server):
        there = ends >= 0
        place[ends[there]] = hops.place[there]
    place[roots] = NONE
    # A path goes on at the nearest end of a hop above; at a callee's end with the caller's.
    ends_here = place >= 0
    ends_here[roots] = True
    above = spans.forest.nearest(ends_here).astype(np.int64)
    both = (hops.client >= 0) & (hops.server >= 0)
    same = np.zeros(len(spans), np.bool_)
    same[hops.server[both]] = True
    above[hops.server[both]] = hops.client[both]

    entries = distinct(spans.service[roots], spans.operation[roots])
    names = [_entry(seen, int(roots[first])) for first in entries.first]
    paths = [Path((name,), name) for name in names]
    numbers: dict[tuple[int, int], int] = {}
    of = np.full(len(spans), NONE, np.int64)
    of[roots] = entries.of
    left = np.flatnonzero(ends_here & (of == NONE) & (above >= 0))
    while len(ready := left[of[above[left]] != NONE]):
        up = of[above[ready]]
        steps = distinct(up, np.where(same[ready], NONE, place[ready]))
        found = []
        for first in steps.first.tolist():
            at, step = int(up[first]), int(place[ready[first]])
            if not same[ready[first]]:
                if (at, step) not in numbers:
                    numbers[at, step] = len(paths)
                    to = hops.places[step]
                    edge = f"{to.caller}.{to.caller_operation}->{to.target}"
                    paths.append(Path((*paths[at].operations, to.target), edge))
                at = numbers[at, step]
            found.append(at)
        of[ready] = np.array(found, np.int64)[steps.of]
        left = left[of[left] == NONE]
    inside = ~ends_here & (above >= 0)
    of[inside] = of[above[inside]]
    return of, paths


def _waited(seen: Observed, root: NDArray[np.bool_]) -> int:
    """Attempts on the path of what ``root`` marks."""
    path, at = seen.path, seen.hops.caller_end
    return int((path.on_path[at] & root[path.root[at]]).sum())


def _calls(seen: Observed, of: Rows, count: int) -> Rows:
    """By path. The first attempt's end at the caller is on it."""
    at = of[seen.hops.caller_end[seen.calls.first]]
    return counted(at[at != NONE], count)


def _by_path(paths: Sequence[Path], values: Iterable[T]) -> dict[Path, T]:
    """What is not 0. Paths over several protocols have one name."""
    found: dict[Path, T] = {}
    for path, value in zip(paths, values, strict=True):
        if value:
            found[path] = found[path] + value if path in found else value
    return found


def _entry(seen: Observed, root: int) -> str:
    spans = seen.spans
    return f"{spans.name(int(spans.service[root]))}.{spans.name(int(spans.operation[root]))}"
