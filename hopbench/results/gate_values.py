"""What gates can ask of each document: the names before, the values after."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from hopbench.results.gates import EDGE_FIELDS, EdgeRow, Subject, Subjects
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


def of_summary(plan: RunPlan, summary: Mapping[str, Any]) -> Subjects:
    """The values of a ``hopbench.summary/1`` document of ``plan``."""
    return Subjects(
        _default(tuple(plan.scenarios)),
        {
            variant["name"]: Subject(
                {name: _number(variant[name]) for name in SUMMARY_VALUES},
                _counts(variant["findings"], known=_enough(plan, variant)),
                _rows(plan.scenarios[variant["name"]], _used(summary, variant)),
            )
            for variant in summary["variants"]
        },
    )


def of_analysis(document: Mapping[str, Any]) -> Subjects:
    """The values of a ``hopbench.analysis/1`` document."""
    subject = Subject(
        {name: _number(document[name]) for name in ANALYSIS_VALUES},
        _counts(document["findings"]),
        [
            EdgeRow(
                edge["caller"],
                edge["callee"],
                edge["operation"],
                frozenset(edge["caller_operations"]),
                {name: _number(edge[name]) for name in EDGE_FIELDS},
            )
            for edge in document["edges"]
        ],
    )
    return Subjects(BASELINE, {BASELINE: subject})


def _default(variants: Sequence[str]) -> str:
    return variants[0] if len(variants) == 1 else BASELINE


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _enough(plan: RunPlan, variant: Mapping[str, Any]) -> bool:
    """Whether there were traces enough to say that something was *not* found."""
    complete: int = variant["complete_traces"]
    return plan.settings.tracing and complete >= plan.limits.complete_traces


def _counts(findings: Sequence[Mapping[str, Any]], *, known: bool = True) -> dict[str, int | None]:
    found = Counter(finding["kind"] for finding in findings)
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


def _used(summary: Mapping[str, Any], variant: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    mine = [trial for trial in summary["trials"] if trial["variant"] == variant["name"]]
    return [trial for trial in mine if not trial["void"]] or mine


def _rows(scenario: Scenario, trials: Sequence[Mapping[str, Any]]) -> list[EdgeRow]:
    """One row an edge of the scenario, over the rounds used; 0 for an edge without a call, unknown
    where no trace was complete."""
    complete = sum(trial["requests"]["complete"] for trial in trials)
    sums: dict[tuple[str, str, str], Counter[str]] = {}
    for trial in trials:
        for edge in trial["edges"]:
            place = (edge["caller"], edge["callee"], edge["operation"])
            sums.setdefault(place, Counter()).update(
                {name: edge[name] for name in ("calls", "errors", "retries")}
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
