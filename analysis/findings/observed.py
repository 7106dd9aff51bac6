"""What analyzers look at, and how what they see becomes a finding.

A *unit* is one path root with all that lies below it: a request, or the handling of one message.
Counts, costs and shares of a finding are by unit, and its floor is against the unit's root.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np

from analysis.arrays import I32, I64, Bool
from analysis.arrays.grouping import counted, distinct, summed
from analysis.arrays.quantiles import NS_PER_MS, median, quantiles
from analysis.findings.finding import Confidence, Evidence, Finding, Hop, Where, fingerprint
from analysis.findings.flows import Flow
from analysis.findings.settings import Settings
from analysis.spans.table import Kind, SpanTable
from analysis.traces.critical_path import CriticalPath
from analysis.traces.pairs import Calls, Edge, Hops, Place
from services.codec import UNSET, UnsetType
from services.scenario.facts import Facts

Mode = Literal["run", "analyze", "protocols"]


@dataclass(frozen=True)
class Observed:
    spans: SpanTable
    facts: Facts
    settings: Settings
    mode: Mode
    hops: Hops
    calls: Calls
    path: CriticalPath
    complete: Bool
    """By trace code."""
    flows: tuple[Flow, ...] = ()
    """Of the rounds that the spans are of."""

    @cached_property
    def unit(self) -> I32:
        """The row of each span's unit: its path's root, or its trace's where it is on none."""
        root = self.path.root
        return np.where(root >= 0, root, self.spans.root)

    @cached_property
    def hop_cost(self) -> I64:
        """Time on the critical path of each hop, ns, with all that it waited for."""
        return self.path.inclusive[self.hops.caller_end]

    @cached_property
    def call_cost(self) -> I64:
        """The same of each logical call, all attempts."""
        return summed(self.hops.call, self.hop_cost, len(self.calls))

    @cached_property
    def call_unit(self) -> I32:
        return self.unit[self.calls.context]

    @cached_property
    def _callers(self) -> dict[tuple[int, int], int]:
        """How many units contain an operation, by (service, operation) code."""
        spans, role = self.spans, self.hops.role
        rows = np.flatnonzero((role == Kind.SERVER) | (role == Kind.CONSUMER) | (spans.parent < 0))
        if len(rows) == 0:
            return {}
        seen = distinct(spans.service[rows], spans.operation[rows], self.unit[rows])
        once = rows[seen.first]
        places = distinct(spans.service[once], spans.operation[once])
        counts = counted(places.of, places.count)
        service = spans.service[once[places.first]].tolist()
        operation = spans.operation[once[places.first]].tolist()
        return dict(zip(zip(service, operation, strict=True), counts.tolist(), strict=True))

    def units_with(self, caller: str, operation: str) -> int:
        """Units that contain an operation of a service as a caller."""
        return self._callers.get((self.spans.code(caller), self.spans.code(operation)), 0)

    @cached_property
    def needs(self) -> dict[tuple[str, str, str], set[str]]:
        """(caller, its operation, callee) → the callees whose results that call needs."""
        found: dict[tuple[str, str, str], set[str]] = {}
        for caller, operation, earlier, later in self.facts.dependent:
            found.setdefault((caller, operation, later), set()).add(earlier)
        return found

    @cached_property
    def edge_callers(self) -> dict[tuple[str, str, str], int]:
        """How many calling operations use an edge, by (caller, callee, operation)."""
        found: dict[tuple[str, str, str], set[str]] = {}
        for p in self.hops.places:
            found.setdefault((p.caller, p.callee, p.operation), set()).add(p.caller_operation)
        return {edge: len(callers) for edge, callers in found.items()}

    def edge(self, place: Place) -> str:
        """An edge as a scenario writes it; with the caller's operation where several use it."""
        caller = place.caller
        if self.edge_callers[place.caller, place.callee, place.operation] > 1:
            caller = f"{caller}.{place.caller_operation}"
        return f"{caller}->{place.target}"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A finding, before it is known whether it matters."""

    finding: Finding
    minor: bool
    claims: Mapping[Edge, int] = field(default_factory=dict)
    """Edges of which it would be the one finding of its sort (analysis/findings/claims.py), and
    what it costs there: ns on the critical path, in all requests."""
    without: Callable[[Set[Edge]], Candidate | None] | None = None
    """Of one that may claim several (any other claims one): the same without some of them, None
    where too little is left."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a rule saw: one row a case (a calling context, say); several may be of one unit."""

    unit: I32
    """Row of the case's unit."""
    count: I64
    cost: I64
    """ns on the critical path."""
    saving: tuple[I64, I64]
    """ns: bounds of what the refactor could save of it."""
    rows: tuple[I32, I32]
    """Evidence: (number of the case, row of a span), in the order to cite."""


def where_of(place: Place, instance: str | None = None) -> Where:
    return Where(
        caller=place.caller,
        caller_operation=place.caller_operation,
        callee=place.callee,
        operation=place.operation,
        protocol=place.protocol,
        instance=instance,
    )


def conclude(
    seen: Observed,
    kind: str,
    where: Where,
    shown: Shown,
    *,
    units_with_place: int,
    confidence: Confidence,
    text: str,
    refactor: Mapping[str, Any] | None,
    minor: bool = False,
    hops: tuple[Hop, ...] | UnsetType = UNSET,
) -> Candidate:
    """A finding with its cost and evidence, and whether it is minor.

    It is where it shows in less than ``trace_share`` of the units that contain its place, or costs
    less than ``cost_share`` of the median duration of the roots it shows under.
    """
    settings, spans = seen.settings, seen.spans
    units = distinct(shown.unit)
    count = summed(units.of, shown.count, units.count)
    cost = summed(units.of, shown.cost, units.count)
    low, high = (summed(units.of, bound, units.count) for bound in shown.saving)
    # Nobody can save what was not waited for; so the bounds hold for each unit, and for P50s, too.
    high = np.clip(high, 0, cost)
    low = np.clip(low, 0, high)
    roots = shown.unit[units.first]
    floor = settings.cost_share * median(spans.duration[roots])
    rare = units.count < settings.trace_share * units_with_place
    return Candidate(
        finding=Finding(
            kind=kind,
            fingerprint=fingerprint(kind, where),
            where=where,
            count_per_request=quantiles(count),
            cost_ms=quantiles(cost, divisor=NS_PER_MS),
            saving_ms=(median(low) / NS_PER_MS, median(high) / NS_PER_MS),
            confidence=confidence,
            completeness=round(float(seen.complete[spans.trace[roots]].mean()), 4)
            if len(roots)
            else 0.0,
            text=text,
            evidence=_evidence(seen, shown, units.of, cost, roots),
            refactor=refactor,
            hops=hops,
        ),
        minor=minor or rare or median(cost) < floor,
    )


def _evidence(
    seen: Observed, shown: Shown, unit_of: I64, cost: I64, roots: I32
) -> tuple[Evidence, ...]:
    """The units whose cost is nearest to the median, and the spans that show it there.

    The dearest would show the machine's worst moment rather than the pattern.
    """
    spans, settings = seen.spans, seen.settings
    if len(roots) == 0:
        return ()
    # Ids are compared only where distances tie, among what could be cited at all.
    most = min(settings.evidence_traces, len(cost))
    off = np.abs(cost - np.int64(median(cost)))
    bar = np.partition(off, most - 1)[most - 1]
    typical = np.flatnonzero(off <= bar)
    ids = spans.trace_ids.gather(spans.trace[roots[typical]].astype(np.int64))
    order = np.lexsort((ids.rank("ordinal").to_numpy(), off[typical]))[:most]
    case, row = shown.rows
    found = []
    for unit in typical[order].tolist():
        cited = row[unit_of[case] == unit]
        if len(cited) > settings.evidence_spans:
            cited = cited[np.argsort(-spans.duration[cited], kind="stable")]
        cited = np.unique(cited[: settings.evidence_spans])
        ids_at = spans.span_ids.gather(spans.span[cited].astype(np.int64)).to_list()
        started = spans.start[cited].tolist()
        found.append(
            Evidence(
                spans.trace_id(int(roots[unit])),
                tuple(i for _, i in sorted(zip(started, ids_at, strict=True))),
            )
        )
    return tuple(found)


def of_calls(seen: Observed, cases: I64, calls: I64) -> tuple[I32, I32]:
    """Evidence rows: ``cases`` and ``calls`` are parallel, a call of each case."""
    end = seen.hops.caller_end[seen.calls.answered[calls]]
    return cases.astype(np.int32), end.astype(np.int32)
