"""``hopbench report``: a run told again from what lies in its directory, whole or not."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hopbench.exits import Exit
from hopbench.front import ending, options
from hopbench.front.output import Output
from hopbench.results import gate_values
from hopbench.results.gates import check, parse
from hopbench.results.summary import summarise
from hopbench.runs import directory as rundir
from hopbench.runs import plan


def command(
    run: Annotated[Path, typer.Argument(help="A run directory.", show_default=False)],
    *,
    json: options.Json = None,
    fail_on: options.FailOn = None,
    strict: options.Strict = False,
    quiet: options.Quiet = False,
) -> Exit:
    """Rebuild findings, summary and reports of a run, also of one that was interrupted."""
    output = Output(json, quiet)
    gates = [parse(text) for text in fail_on or ()]
    directory = rundir.opened(run)
    planned = plan.read(directory)
    rundir.must_take(directory)
    check(gates, gate_values.planned(planned.scenarios))
    with rundir.claimed(directory):
        with output.working("analysing"):
            summary = summarise(planned, directory)
        ending.show(summary, directory, output)
    return ending.code(planned, summary, gates, output, strict=strict)
