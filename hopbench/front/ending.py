"""The end of a run, or of a report on one: reports written, results shown, the exit code found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from analysis.report.html import html
from analysis.report.markdown import markdown
from analysis.report.terminal import terminal
from analysis.report.view import View
from hopbench import disk
from hopbench.exits import Exit, worst
from hopbench.front.output import Output
from hopbench.results import gate_values
from hopbench.results.gates import Gate, Outcome, judge
from hopbench.results.summary import Summary
from hopbench.results.view import view
from hopbench.runs.directory import RunDir
from hopbench.runs.plan import RunPlan
from services.codec import plain


def written(summary: Summary, run: RunDir) -> View:
    """Write the reports."""
    seen = view(summary)
    for name, text in (("report.md", markdown(seen)), ("report.html", html(seen))):
        with disk.whole(run.path / name) as file:
            file.write(text.encode())
    return seen


def show(summary: Summary, run: RunDir, output: Output) -> None:
    """Write the reports and show the result to people and machines."""
    output.show(terminal(written(summary, run)))
    output.show(f"report: {run.path / 'report.html'}")
    output.document(plain(summary))


def tell(outcomes: Iterable[Outcome], output: Output) -> None:
    """A line a gate; one that failed is the reason of the exit code."""
    for outcome in outcomes:
        (output.note if outcome.exit is Exit.DONE else output.reason)(outcome.line())


def code(
    plan: RunPlan,
    summary: Summary,
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
        (variant.name, expected)
        for variant in summary.variants
        for expected in variant.expectations
        if expected.met is False
    ]
    for name, expected in unmet:
        where = ", ".join(f"{k} {v}" for k, v in expected.where.items())
        output.reason(f"expectation not met in {name}: {expected.kind} ({where})")
    void = [v.name for v in summary.variants if not v.valid]
    if strict and void:
        output.reason(f"no valid round: {', '.join(void)}")
    return worst(
        [
            *(outcome.exit for outcome in outcomes),
            Exit.FAILED if unmet else Exit.DONE,
            Exit.VOID if strict and void else Exit.DONE,
        ]
    )
