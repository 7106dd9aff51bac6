"""From spans to findings: the hand-off between everybody who has traces and the analyzers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.findings.analyzers import analyzers
from analysis.findings.finding import Finding, ranked
from analysis.findings.observed import Mode, Observed
from analysis.findings.settings import Settings
from analysis.rows.edges import edge_rows, traffic
from analysis.rows.paths import path_rows
from analysis.rows.services import service_rows
from analysis.spans.naming import by_scenario
from analysis.spans.table import SpanTable
from analysis.traces.critical_path import PRESETS, critical_path
from analysis.traces.pairs import complete_traces, pair
from services.scenario.facts import Facts


@dataclass(frozen=True, slots=True)
class Analysis:
    """Rows are documents already (docs/output.md); findings and minor are ranked."""

    settings: Settings
    traces: int
    """In the table."""
    complete: int
    """Of these, complete ones."""
    requests: int
    """What ``calls_per_request`` divides by."""
    edges: tuple[dict[str, Any], ...]
    critical_path: tuple[dict[str, Any], ...]
    services: tuple[dict[str, Any], ...]
    findings: tuple[Finding, ...]
    minor: tuple[Finding, ...]
    outside: int
    """Spans that lie outside their parents' windows, and so on no path."""
    total_inter_service_calls: int
    unique_service_pairs: int


def analyse(
    spans: SpanTable,
    facts: Facts,
    settings: Settings,
    mode: Mode,
    requests: int | None = None,
) -> Analysis:
    """Everything that is known about how these services communicate.

    ``run`` and ``protocols`` judge complete traces only (analysis/traces/pairs.py); ``analyze``
    judges all, and says with each finding how complete they were. ``requests`` are the complete
    requests that calls are divided by; None counts the traces judged. Equal input gives equal
    output.
    """
    spans = by_scenario(spans, facts)
    traces = spans.traces
    hops, calls = pair(spans)
    complete = complete_traces(spans, hops, both_ends=mode != "analyze")
    whole = int(complete.sum())
    if mode != "analyze" and whole < traces:
        spans = spans.select(complete)
        hops, calls = pair(spans)
        complete = np.ones(spans.traces, np.bool_)
    seen = Observed(
        spans=spans,
        facts=facts,
        settings=settings,
        mode=mode,
        hops=hops,
        calls=calls,
        path=critical_path(spans, PRESETS["reference"]),
        complete=complete,
    )
    candidates = [found for analyzer in analyzers() for found in analyzer(seen)]
    divisor = spans.traces if requests is None else requests
    total, pairs = traffic(seen)
    return Analysis(
        settings=settings,
        traces=traces,
        complete=whole,
        requests=divisor,
        edges=edge_rows(seen, divisor),
        critical_path=path_rows(seen),
        services=service_rows(seen),
        findings=ranked(c.finding for c in candidates if not c.minor),
        minor=ranked(c.finding for c in candidates if c.minor),
        outside=seen.path.outside,
        total_inter_service_calls=total,
        unique_service_pairs=pairs,
    )
