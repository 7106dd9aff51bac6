"""What gates can ask of each document: the names before, the values after."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Final

from analysis.analyse import Analysis
from analysis.findings.finding import Finding
from analysis.rows.edges import EdgeRow as Row
from hopbench.results.gates import (
    EDGE_FIELDS,
    EDGE_SUMS,
    EDGE_TIMES,
    EdgeRow,
    Subject,
    Subjects,
    Value,
)
from hopbench.results.round import Account, usable
from hopbench.results.summary import Summary
from hopbench.results.variant import VariantRow
from hopbench.runs.plan import RunPlan
from services.scenario.findings import FINDINGS
from services.scenario.model import Scenario
from services.scenario.refactors import BASELINE
from services.scenario.steps.calls import Talk
from services.scenario.tree import operations, walk

ROUNDS: Final = ("rounds", "void_rounds")
"""Known of a variant without a valid round, too."""
SUMMARY_VALUES: Final = (
    *ROUNDS,
    "response_p50_ms",
    "response_p95_ms",
    "response_p99_ms",
    "calls_per_request",
    "direct_tax_ms",
)
AGAINST_BASELINE: Final = ("response_p50_ratio", "response_p95_ratio", "response_p99_ratio")
"""The variant's by the baseline's; both need a valid round."""
OF_REQUESTS: Final = ("failed_share", "dropped_share")
"""Of the requests sent, and of those that were due, 0..1."""
ANALYSIS_VALUES: Final = ("total_inter_service_calls", "unique_service_pairs")


def planned(scenarios: Mapping[str, Scenario]) -> Subjects:
    """The names that a run of these variants will have; every value is unknown."""
    return Subjects(
        _default(tuple(scenarios)),
        {
            name: Subject(
                dict.fromkeys((*SUMMARY_VALUES, *OF_REQUESTS, *AGAINST_BASELINE)),
                dict.fromkeys(FINDINGS),
                [EdgeRow(*place, {}) for place in _places(of)],
            )
            for name, of in scenarios.items()
        },
    )


def of_summary(plan: RunPlan, summary: Summary) -> Subjects:
    """The values of a summary of ``plan``."""
    baseline = next((v for v in summary.variants if v.name == BASELINE), None)
    return Subjects(
        _default(tuple(plan.scenarios)),
        {
            variant.name: Subject(
                {
                    name: _number(getattr(variant, name))
                    if variant.valid or name in ROUNDS
                    else None
                    for name in SUMMARY_VALUES
                }
                | _of_requests(summary.of(variant))
                | _against(baseline, variant),
                _counts(variant.findings, known=_enough(plan, variant)),
                _rows(
                    plan.scenarios[variant.name],
                    usable(summary.of(variant)) if variant.valid else (),
                ),
            )
            for variant in summary.variants
        },
    )


def of_analysis(found: Analysis) -> Subjects:
    """The values of an analysis of anybody's traces."""
    subject = Subject(
        {name: _number(getattr(found, name)) for name in ANALYSIS_VALUES},
        _counts(found.findings),
        [
            EdgeRow(
                edge.caller,
                edge.caller_operation,
                edge.callee,
                edge.operation,
                {name: _number(getattr(edge, name)) for name in EDGE_SUMS} | _times([edge]),
            )
            for edge in found.edges
        ],
    )
    return Subjects(BASELINE, {BASELINE: subject})


def _of_requests(trials: Iterable[Account]) -> dict[str, Value]:
    loads = [trial.load for trial in trials if not trial.void]
    sent = sum(load.sent for load in loads)
    dropped = sum(load.dropped for load in loads)
    shares = (
        sum(load.failed for load in loads) / sent if sent else None,
        dropped / (sent + dropped) if sent + dropped else None,
    )
    return dict(zip(OF_REQUESTS, shares, strict=True))


def _against(baseline: VariantRow | None, variant: VariantRow) -> dict[str, Value]:
    found: dict[str, Value] = dict.fromkeys(AGAINST_BASELINE)
    if baseline is None or not (baseline.valid and variant.valid):
        return found
    for name in AGAINST_BASELINE:
        of = name.replace("ratio", "ms")
        before, after = getattr(baseline, of), getattr(variant, of)
        if before and after is not None:
            found[name] = after / before
    return found


def _default(variants: Sequence[str]) -> str:
    return variants[0] if len(variants) == 1 else BASELINE


def _number(value: float | None) -> float | None:
    return None if value is None else float(value)


def _enough(plan: RunPlan, variant: VariantRow) -> bool:
    """Whether there were traces enough to say that something was *not* found."""
    return (
        variant.valid
        and plan.settings.tracing
        and variant.complete_traces >= plan.limits.complete_traces
    )


def _counts(findings: Iterable[Finding], *, known: bool = True) -> dict[str, int | None]:
    found = Counter(finding.kind for finding in findings)
    kinds = (*FINDINGS, *(k for k in found if k not in FINDINGS))
    return {kind: found[kind] if known else None for kind in kinds}


_Place = tuple[str, str, str, str]
"""Caller, its operation, callee, operation."""


def _places(scenario: Scenario) -> list[_Place]:
    """Each once, in file order."""
    found: dict[_Place, None] = {}
    for service, operation in operations(scenario):
        for step in walk(operation.steps):
            if isinstance(step, Talk):
                target = step.edge.target
                found[service.name, operation.name, target.service, target.operation] = None
    return list(found)


def _times(rows: Sequence[Row]) -> dict[str, float | None]:
    """Medians over rounds; None where a round has several rows of the edge, by protocol, or one of
    them cannot tell."""
    found: dict[str, float | None] = {}
    alone = len({row.protocol for row in rows}) == 1
    for name in EDGE_TIMES:
        of, quantile, _ = name.split("_")
        # No span may have told the queue; then there are no quantiles of it.
        values = [getattr(getattr(row, f"{of}_ms"), quantile, None) for row in rows]
        known = [value for value in values if value is not None]
        found[name] = median(known) if alone and len(known) == len(values) else None
    return found


def _rows(scenario: Scenario, trials: Sequence[Account]) -> list[EdgeRow]:
    """One row an edge of the scenario, over the rounds used; 0 for an edge without a call, unknown
    where no trace was complete."""
    complete = sum(trial.requests.complete for trial in trials)
    sums: dict[_Place, Counter[str]] = {}
    alike: dict[_Place, list[Row]] = {}
    for trial in trials:
        for edge in trial.edges:
            place = (edge.caller, edge.caller_operation, edge.callee, edge.operation)
            alike.setdefault(place, []).append(edge)
            sums.setdefault(place, Counter()).update(
                calls=edge.calls, errors=edge.errors, retries=edge.retries, hedges=edge.hedges
            )
    rows = []
    for place in _places(scenario):
        of = sums.get(place, Counter())
        values: dict[str, float | None] = dict.fromkeys(EDGE_FIELDS)
        if complete:
            values = {
                "calls": float(of["calls"]),
                "calls_per_request": of["calls"] / complete,
                "errors": float(of["errors"]),
                "retries": float(of["retries"]),
                "hedges": float(of["hedges"]),
                **_times(alike.get(place, [])),
            }
        rows.append(EdgeRow(*place, values))
    return rows
