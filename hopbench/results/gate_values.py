"""What gates can ask of each document: the names before, the values after."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from analysis.analyse import Analysis
from analysis.findings.finding import Finding
from hopbench.results.gates import EDGE_FIELDS, EdgeRow, Subject, Subjects
from hopbench.results.round import Account, usable
from hopbench.results.summary import Summary
from hopbench.results.variant import VariantRow
from hopbench.runs.plan import RunPlan
from services.scenario.findings import FINDINGS
from services.scenario.model import Scenario
from services.scenario.refactors import BASELINE
from services.scenario.steps.calls import Talk
from services.scenario.tree import operations, walk

SUMMARY_VALUES: Final = (
    "rounds",
    "void_rounds",
    "response_p50_ms",
    "response_p95_ms",
    "response_p99_ms",
    "calls_per_request",
    "direct_tax_ms",
)
ANALYSIS_VALUES: Final = ("total_inter_service_calls", "unique_service_pairs")


def planned(plan: RunPlan) -> Subjects:
    """The names that a run of ``plan`` will have; every value is unknown."""
    return Subjects(
        _default(tuple(plan.scenarios)),
        {
            name: Subject(
                dict.fromkeys(SUMMARY_VALUES),
                dict.fromkeys(FINDINGS, 0),
                [EdgeRow(*place, operations, {}) for place, operations in _places(of).items()],
            )
            for name, of in plan.scenarios.items()
        },
    )


def of_summary(plan: RunPlan, summary: Summary) -> Subjects:
    """The values of a summary of ``plan``."""
    return Subjects(
        _default(tuple(plan.scenarios)),
        {
            variant.name: Subject(
                {name: _number(getattr(variant, name)) for name in SUMMARY_VALUES},
                _counts(variant.findings, known=_enough(plan, variant)),
                _rows(plan.scenarios[variant.name], usable(summary.of(variant))),
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
                edge.callee,
                edge.operation,
                frozenset(edge.caller_operations),
                {name: _number(getattr(edge, name)) for name in EDGE_FIELDS},
            )
            for edge in found.edges
        ],
    )
    return Subjects(BASELINE, {BASELINE: subject})


def _default(variants: Sequence[str]) -> str:
    return variants[0] if len(variants) == 1 else BASELINE


def _number(value: float | None) -> float | None:
    return None if value is None else float(value)


def _enough(plan: RunPlan, variant: VariantRow) -> bool:
    """Whether there were traces enough to say that something was *not* found."""
    return plan.settings.tracing and variant.complete_traces >= plan.limits.complete_traces


def _counts(findings: Iterable[Finding], *, known: bool = True) -> dict[str, int | None]:
    found = Counter(finding.kind for finding in findings)
    kinds = (*FINDINGS, *(k for k in found if k not in FINDINGS))
    return {kind: found[kind] if known else None for kind in kinds}


def _places(scenario: Scenario) -> dict[tuple[str, str, str], frozenset[str]]:
    """(caller, callee, operation) → the caller's operations that use it."""
    found: dict[tuple[str, str, str], set[str]] = {}
    for service, operation in operations(scenario):
        for step in walk(operation.steps):
            if isinstance(step, Talk):
                target = step.edge.target
                place = (service.name, target.service, target.operation)
                found.setdefault(place, set()).add(operation.name)
    return {place: frozenset(names) for place, names in found.items()}


def _rows(scenario: Scenario, trials: Sequence[Account]) -> list[EdgeRow]:
    """One row an edge of the scenario, over the rounds used; 0 for an edge without a call, unknown
    where no trace was complete."""
    complete = sum(trial.requests.complete for trial in trials)
    sums: dict[tuple[str, str, str], Counter[str]] = {}
    for trial in trials:
        for edge in trial.edges:
            place = (edge.caller, edge.callee, edge.operation)
            sums.setdefault(place, Counter()).update(
                calls=edge.calls, errors=edge.errors, retries=edge.retries
            )
    rows = []
    for place, callers in _places(scenario).items():
        of = sums.get(place, Counter())
        values: dict[str, float | None] = dict.fromkeys(EDGE_FIELDS)
        if complete:
            values = {
                "calls": float(of["calls"]),
                "calls_per_request": of["calls"] / complete,
                "errors": float(of["errors"]),
                "retries": float(of["retries"]),
            }
        rows.append(EdgeRow(*place, callers, values))
    return rows
