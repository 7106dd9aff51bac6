"""The end of a comparison: verdict and reports written, shown, and its exit code found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from analysis.report import html as report
from hopbench import disk
from hopbench.comparison import ledger
from hopbench.comparison.document import Document, comparisons, doubts
from hopbench.comparison.judgement import Judgement
from hopbench.comparison.shown.html import html
from hopbench.comparison.shown.markdown import markdown
from hopbench.comparison.shown.terminal import terminal
from hopbench.exits import Exit, worst
from hopbench.front.ending import tell
from hopbench.front.output import Output, complain, write
from hopbench.results.gates import Gate, Subjects, judge
from hopbench.results.summary import Summary
from hopbench.results.view import view
from hopbench.runs.directory import RunDir
from hopbench.runs.plan import RunPlan
from hopbench.statistics.effect import Outcome
from services.codec import plain
from services.errors import BadInput

EXITS: Final = {Outcome.VOID: Exit.VOID, Outcome.INCONCLUSIVE: Exit.INCONCLUSIVE}
"""Of verdicts; what is known is Exit.DONE, whatever it is."""
ROUNDS: Final = "rounds.html"
"""What `hopbench run` would show of them."""


def written(document: Document, summary: Summary, run: RunDir) -> str:
    """Write verdict and reports; the one in Markdown."""
    disk.write_json(run.verdict, plain(document))
    text = markdown(document)
    pages = {
        "report.md": text,
        "report.html": html(document, [ROUNDS]),
        ROUNDS: report.html(view(summary)),
    }
    for name, page in pages.items():
        with disk.whole(run.path / name) as file:
            file.write(page.encode())
    return text


def show(
    document: Document, summary: Summary, run: RunDir, target: str | None, output: Output
) -> None:
    """``target`` is where the Markdown goes, beside report.md of the run directory."""
    text = written(document, summary, run)
    if target is not None:
        write(target, text.encode())
    output.show(terminal(document))
    told = ", ".join(f"{each.b} {each.verdict.value}" for each in comparisons(document))
    output.show(f"verdict: {told}: {run.verdict}, report: {run.path / 'report.html'}")
    output.document(plain(document))


def note(planned: RunPlan, run: RunDir, found: Judgement) -> None:
    """Enter what equals have shown in the ledger beside the run. Told where that is no ledger: the
    verdict stands without."""
    try:
        ledger.record(planned, run, found.nulls)
    except (BadInput, OSError) as error:
        complain(f"{ledger.FILE}: {error.text if isinstance(error, BadInput) else error.strerror}")


def code(document: Document, values: Subjects, gates: Sequence[Gate], output: Output) -> Exit:
    """What the verdicts mean for the exit code; what failed is told."""
    outcomes = [judge(gate, values) for gate in gates]
    tell(outcomes, output)
    found = comparisons(document)
    for doubt in doubts(found):
        if doubt.voids:
            output.reason(f"void: {doubt.text}")
    return worst(
        [
            *(outcome.exit for outcome in outcomes),
            *(EXITS.get(each.verdict, Exit.DONE) for each in found),
        ]
    )
