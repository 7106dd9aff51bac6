"""The critical path, added up: the rows of ``critical_path`` in every document."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.arrays.grouping import counted, distinct, summed
from analysis.arrays.quantiles import NS_PER_MS, Quantiles, quantiles
from analysis.findings.observed import Observed
from analysis.spans.table import Kind


@dataclass(frozen=True, slots=True)
class PathRow:
    """Time of an operation on the critical path of some roots."""

    root: str
    """``service.operation``."""
    service: str
    operation: str
    share: float
    """Of the mean duration of those roots, 0..1."""
    wire_share: float
    """Of that, waiting on the wire."""
    self_ms: Quantiles
    """Roots whose path never touches the operation count as 0, so that it speaks of a request."""


def path_rows(seen: Observed) -> tuple[PathRow, ...]:
    """By root operation, service and operation, dearest first.

    About a scenario, the operation is the one that was served: what its client and fan-out spans
    add (waiting on the wire) counts as its own.
    """
    spans, path = seen.spans, seen.path
    on = np.flatnonzero(path.on_path)
    wire = (spans.kind[on] == Kind.CLIENT) | (spans.kind[on] == Kind.PRODUCER)
    at = on.astype(np.int32)
    if seen.facts.known:
        serving = (spans.kind == Kind.SERVER) | (spans.kind == Kind.CONSUMER)
        served = np.where(serving[on], at, spans.forest.nearest(serving)[on])
        at = np.where(served >= 0, served, at)
    if len(on) == 0:
        return ()
    roots = np.flatnonzero(path.is_root & path.on_path)
    kinds = distinct(spans.service[roots], spans.operation[roots])
    kind_of_root = np.full(len(spans), -1, np.int64)
    kind_of_root[roots] = kinds.of
    length = summed(kinds.of, (path.hi - path.lo)[roots], kinds.count)
    how_many = counted(kinds.of, kinds.count)

    kind = kind_of_root[path.root[on]]
    places = distinct(kind, spans.service[at], spans.operation[at])
    per_root = distinct(places.of, path.root[on])
    own = summed(per_root.of, path.exclusive[on], per_root.count)
    on_wire = summed(places.of[wire], path.exclusive[on][wire], places.count)
    place_of = places.of[per_root.first]
    total = summed(place_of, own, places.count)
    rows: list[PathRow] = []
    order = np.argsort(place_of, kind="stable")
    bounds = np.searchsorted(place_of[order], np.arange(places.count + 1))
    for number in range(places.count):
        example = int(at[places.first[number]])
        of_kind = int(kind[places.first[number]])
        root = int(roots[kinds.first[of_kind]])
        whole = int(length[of_kind])
        seen_in = own[order[bounds[number] : bounds[number + 1]]]
        values = np.concatenate(
            (np.zeros(int(how_many[of_kind]) - len(seen_in), np.int64), seen_in)
        )
        rows.append(
            PathRow(
                root=f"{spans.name(int(spans.service[root]))}"
                f".{spans.name(int(spans.operation[root]))}",
                service=spans.name(int(spans.service[example])) or "",
                operation=spans.name(int(spans.operation[example])) or "",
                share=int(total[number]) / whole if whole else 0.0,
                wire_share=int(on_wire[number]) / whole if whole else 0.0,
                self_ms=quantiles(values, divisor=NS_PER_MS),
            )
        )
    rows.sort(key=lambda r: (r.root, -r.share, r.service, r.operation))
    return tuple(rows)
