"""The end of a comparison: verdict and reports written, shown, and its exit code found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from hopbench import disk
from hopbench.comparison.document import Document, comparisons
from hopbench.comparison.shown.markdown import markdown
from hopbench.comparison.shown.terminal import terminal
from hopbench.exits import Exit, worst
from hopbench.front.ending import tell
from hopbench.front.output import Output, write
from hopbench.results.gates import Gate, Subjects, judge
from hopbench.runs.directory import RunDir
from hopbench.statistics.effect import Outcome
from services.codec import plain

EXITS: Final = {Outcome.VOID: Exit.VOID, Outcome.INCONCLUSIVE: Exit.INCONCLUSIVE}
"""Of verdicts; what is known is Exit.DONE, whatever it is."""


def show(document: Document, run: RunDir, target: str | None, output: Output) -> None:
    """``target`` is where the Markdown goes, beside report.md of the run directory."""
    written = plain(document)
    disk.write_json(run.verdict, written)
    text = markdown(document).encode()
    with disk.whole(run.path / "report.md") as file:
        file.write(text)
    if target is not None:
        write(target, text)
    output.show(terminal(document))
    output.show(f"verdict: {run.verdict}")
    output.document(written)


def code(document: Document, values: Subjects, gates: Sequence[Gate], output: Output) -> Exit:
    """What the verdicts mean for the exit code; what failed is told."""
    outcomes = [judge(gate, values) for gate in gates]
    tell(outcomes, output)
    found = comparisons(document)
    for each in found:
        for doubt in each.doubts:
            if doubt.voids:
                output.reason(f"void: {doubt.text}")
    return worst(
        [
            *(outcome.exit for outcome in outcomes),
            *(EXITS.get(each.verdict, Exit.DONE) for each in found),
        ]
    )
