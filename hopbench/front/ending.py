"""The end of a run, or of a report on one: reports written, results shown, the exit code found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from analysis import report
from hopbench.exits import Exit, worst
from hopbench.front.output import Output
from hopbench.results import gate_values
from hopbench.results.gates import Gate, Outcome, judge
from hopbench.runs.directory import RunDir
from hopbench.runs.plan import RunPlan


def show(summary: Mapping[str, Any], run: RunDir, output: Output) -> None:
    """Write the reports and show the result to people and machines."""
    path = report.write(summary, run.path)
    output.show(report.terminal(summary))
    output.show(f"report: {path}")
    output.document(summary)


def tell(outcomes: Iterable[Outcome], output: Output) -> None:
    """A line a gate; one that failed is the reason of the exit code."""
    for outcome in outcomes:
        (output.note if outcome.exit is Exit.DONE else output.reason)(outcome.line())


def code(
    plan: RunPlan,
    summary: Mapping[str, Any],
    gates: Sequence[Gate],
    output: Output,
    *,
    strict: bool,
) -> Exit:
    """What the result means for the exit code; what failed is told."""
    values = gate_values.of_summary(plan, summary)
    outcomes = [judge(gate, values) for gate in gates]
    tell(outcomes, output)
    unmet = [
        (variant["name"], expectation)
        for variant in summary["variants"]
        for expectation in variant["expectations"]
        if expectation["met"] is False
    ]
    for name, expectation in unmet:
        where = ", ".join(f"{k} {v}" for k, v in expectation["where"].items())
        output.reason(f"expectation not met in {name}: {expectation['kind']} ({where})")
    void = [v["name"] for v in summary["variants"] if v["rounds"] == v["void_rounds"]]
    if strict and void:
        output.reason(f"no valid round: {', '.join(void)}")
    return worst(
        [
            *(outcome.exit for outcome in outcomes),
            Exit.FAILED if unmet else Exit.DONE,
            Exit.VOID if strict and void else Exit.DONE,
        ]
    )
