"""Where the time of a request goes, edge by edge: parts that add up to its duration, exactly.

The critical path cuts the duration of a request into stretches, each of one span alone. A stretch
belongs to the edge by which its work was asked for: of a client span to that call's, of anything
else to the one that led to the operation which it is part of. What the entry does itself belongs to
no edge, and is named by the entry. So a call's edge has its wire and the callee's own time, and
what the callee waits for belongs to edges further on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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
from hopbench.statistics import Floats
from services.scenario.facts import facts_of

Rows = NDArray[np.signedinteger]


@dataclass(frozen=True, slots=True)
class Partition:
    """Of the sampled requests of one round whose trace is complete."""

    requests: int
    root_ms: float
    """Mean duration at the entry."""
    parts_ms: Mapping[str, float]
    """By edge, ``caller.operation->callee.operation``, or entry; they add up to ``root_ms``."""
    hops: float
    """Calls on the critical path, attempts and all, per request."""
    calls: Mapping[str, float]
    """Logical calls by edge, on the critical path or not: per request of the entries that lead to
    it, so that an entry beside them does not thin them out."""


def partition(run: RunDir, planned: RunPlan, turn: Turn) -> Partition | None:
    """None where no trace of the round is complete."""
    found = trial.read(run, planned, turn)
    if found is None:
        return None
    facts = facts_of(planned.scenarios[turn.variant])
    return parts(observe(found.measured_spans(), facts, Settings(), "run"))


def parts(seen: Observed) -> Partition | None:
    """Messages that nobody waited for are no part of a request's duration."""
    spans, hops, path = seen.spans, seen.hops, seen.path
    roots = np.flatnonzero(path.is_root & path.on_path & (spans.parent < 0))
    if len(roots) == 0:
        return None
    place = np.full(len(spans), NONE, np.int64)
    for ends in (hops.client, hops.server):
        there = ends >= 0
        place[ends[there]] = hops.place[there]
    place[roots] = NONE
    above = spans.forest.nearest(place >= 0)
    asked = np.where(place >= 0, place, np.where(above >= 0, place[above], NONE))

    waited = np.zeros(len(spans), np.bool_)
    waited[roots] = True
    on = np.flatnonzero(path.on_path & (path.root >= 0) & waited[path.root])
    entries = distinct(spans.service[roots], spans.operation[roots])
    entry_of = np.full(len(spans), NONE, np.int64)
    entry_of[roots] = entries.of
    names = [f"{p.caller}.{p.caller_operation}->{p.target}" for p in hops.places]
    names += [_entry(seen, int(roots[first])) for first in entries.first]
    at_entry = len(hops.places) + entry_of[path.root[on]]
    part = np.where(asked[on] >= 0, asked[on], at_entry)
    total = summed(part, path.exclusive[on], len(names))
    count = len(roots)
    return Partition(
        requests=count,
        root_ms=int((path.hi - path.lo)[roots].sum()) / count / NS_PER_MS,
        hops=_waited(seen, waited) / count,
        parts_ms=_by_name(names, total / NS_PER_MS / count),
        calls=_by_name(names[: len(hops.places)], _calls(seen, roots, entries.of)),
    )


def _waited(seen: Observed, root: NDArray[np.bool_]) -> int:
    """Attempts on the path of what ``root`` marks."""
    path, at = seen.path, seen.hops.caller_end
    return int((path.on_path[at] & root[path.root[at]]).sum())


def _calls(seen: Observed, roots: Rows, entry_of: Rows) -> Floats:
    """By place. ``entry_of``: the entry of each root, from 0."""
    spans, places = seen.spans, len(seen.hops.places)
    entries = int(entry_of.max()) + 1
    of_trace = np.full(int(spans.trace.max()) + 1, NONE, np.int64)
    of_trace[spans.trace[roots]] = entry_of
    entry = of_trace[spans.trace[seen.calls.context]]
    known = entry >= 0
    made = np.zeros((places, entries), np.int64)
    np.add.at(made, (seen.calls.place[known], entry[known]), 1)
    requests = np.where(made > 0, counted(entry_of, entries), 0).sum(axis=1)
    found: Floats = made.sum(axis=1) / np.maximum(requests, 1)
    return found


def _by_name(names: Sequence[str], values: Floats) -> dict[str, float]:
    """Edges over several protocols have one name."""
    found: dict[str, float] = {}
    for name, value in zip(names, values.tolist(), strict=False):
        found[name] = found.get(name, 0.0) + value
    return found


def _entry(seen: Observed, root: int) -> str:
    spans = seen.spans
    return f"{spans.name(int(spans.service[root]))}.{spans.name(int(spans.operation[root]))}"
