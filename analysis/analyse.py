"""From spans to findings: the hand-off between everybody who has traces and the analyzers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.findings.analyzers import analyzers
from analysis.findings.claims import settled
from analysis.findings.finding import Finding, ranked
from analysis.findings.flows import Flow
from analysis.findings.observed import Mode, Observed
from analysis.findings.settings import Settings
from analysis.rows.edges import EdgeRow, edge_rows, traffic
from analysis.rows.paths import PathRow, path_rows
from analysis.rows.services import ServiceRow, service_rows
from analysis.spans.naming import by_scenario
from analysis.spans.table import SpanTable
from analysis.traces.critical_path import PRESETS, critical_path
from analysis.traces.pairs import complete_traces, pair
from services.scenario.facts import Facts


@dataclass(frozen=True, slots=True)
class Analysis:
    """Rows as documents have them (docs/output.md); findings and minor are ranked."""

    settings: Settings
    traces: int
    """In the table."""
    complete: int
    """Of these, complete ones."""
    edges: tuple[EdgeRow, ...]
    critical_path: tuple[PathRow, ...]
    services: tuple[ServiceRow, ...]
    findings: tuple[Finding, ...]
    minor: tuple[Finding, ...]
    outside: int
    """Spans that lie outside their parents' windows, and so on no path."""
    total_inter_service_calls: int
    unique_service_pairs: int


def observe(
    spans: SpanTable,
    facts: Facts,
    settings: Settings,
    mode: Mode,
    flows: tuple[Flow, ...] = (),
) -> Observed:
    """What there is to be seen of how these services communicate.

    ``run`` and ``protocols`` judge complete traces only (analysis/traces/pairs.py); ``analyze``
    judges all, and says with each finding how complete they were.
    """
    spans = by_scenario(spans, facts)
    hops, calls = pair(spans)
    complete = complete_traces(spans, hops, both_ends=mode != "analyze")
    if mode != "analyze" and not complete.all():
        spans = spans.select(complete)
        hops, calls = pair(spans)
        complete = np.ones(spans.traces, np.bool_)
    return Observed(
        spans=spans,
        facts=facts,
        settings=settings,
        mode=mode,
        hops=hops,
        calls=calls,
        path=critical_path(spans, PRESETS["reference"]),
        complete=complete,
        flows=flows,
    )


def concluded(seen: Observed) -> tuple[tuple[Finding, ...], tuple[Finding, ...]]:
    """Findings and minor ones, ranked."""
    candidates = list(settled(found for analyzer in analyzers() for found in analyzer(seen)))
    return (
        ranked(c.finding for c in candidates if not c.minor),
        ranked(c.finding for c in candidates if c.minor),
    )


def analyse(
    spans: SpanTable,
    facts: Facts,
    settings: Settings,
    mode: Mode,
    flows: tuple[Flow, ...] = (),
) -> Analysis:
    """Everything that is known about these spans. Equal input gives equal output."""
    return analysed(observe(spans, facts, settings, mode, flows), spans.traces)


def analysed(seen: Observed, traces: int) -> Analysis:
    """The same of what was observed already, in so many traces."""
    findings, minor = concluded(seen)
    total, pairs = traffic(seen)
    return Analysis(
        settings=seen.settings,
        traces=traces,
        complete=int(seen.complete.sum()),
        edges=edge_rows(seen),
        critical_path=path_rows(seen),
        services=service_rows(seen),
        findings=findings,
        minor=minor,
        outside=seen.path.outside,
        total_inter_service_calls=total,
        unique_service_pairs=pairs,
    )
