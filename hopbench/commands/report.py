"""``hopbench report``: a run told again from what lies in its directory, whole or not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from hopbench.comparison import gating
from hopbench.comparison.judgement import judged
from hopbench.exits import Exit
from hopbench.front import ending, options, verdict_ending
from hopbench.front.output import Output
from hopbench.results import gate_values
from hopbench.results.gates import Gate, check, parse
from hopbench.results.summary import summarise
from hopbench.runs import directory as rundir
from hopbench.runs import plan
from hopbench.runs.directory import RunDir
from hopbench.runs.plan import RunPlan


def command(
    run: Annotated[Path, typer.Argument(help="A run directory.", show_default=False)],
    *,
    json: options.Json = None,
    fail_on: options.FailOn = None,
    strict: options.Strict = False,
    quiet: options.Quiet = False,
) -> Exit:
    """Rebuild findings, summary and reports of a run, also of one that was interrupted.

    Of a comparison: its verdict.
    """
    output = Output(json, quiet)
    gates = [parse(text) for text in fail_on or ()]
    directory = rundir.opened(run)
    planned = plan.read(directory)
    rundir.must_take(directory)
    if planned.design is not None:
        return _verdict(planned, directory, gates, output)
    check(gates, gate_values.planned(planned.scenarios))
    with rundir.claimed(directory):
        with output.working("analysing"):
            summary = summarise(planned, directory)
        ending.show(summary, directory, output)
    return ending.code(planned, summary, gates, output, strict=strict)


def _verdict(planned: RunPlan, directory: RunDir, gates: Sequence[Gate], output: Output) -> Exit:
    """Of a comparison."""
    gates = gating.of_every_arm(gates, planned)
    check(gates, gating.planned(planned))
    with rundir.claimed(directory):
        with output.working("analysing"):
            summary = summarise(planned, directory)
            document = judged(planned, directory, summary).document
        verdict_ending.show(document, summary, directory, None, output)
    return verdict_ending.code(document, gating.of(planned, summary, document), gates, output)
