"""``hopbench critical-path``: where the time of each trace went, to the nanosecond."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import typer

from analysis.critical_path import PRESETS, Preset
from analysis.document import critical_path_document
from analysis.readers import read
from analysis.report.traces import critical_paths
from hopbench import options
from hopbench.exits import Exit
from hopbench.output import Output


def command(
    traces: Annotated[
        list[Path],
        typer.Argument(
            help="Trace files, directories of them, run directories.", show_default=False
        ),
    ],
    *,
    preset: Annotated[
        str, typer.Option("--preset", metavar="|".join(PRESETS), help="Whose rules to follow.")
    ] = "reference",
    json: options.Json = None,
    quiet: options.Quiet = False,
) -> Exit:
    """The critical path of each root. Its sections add up to the root's duration exactly."""
    output = Output(json, quiet)
    chosen = cast(Preset, options.one_of("--preset", preset, tuple(PRESETS)))
    with output.working("reading"):
        found = read(traces)
    document = critical_path_document(found, chosen)
    output.show(critical_paths(document))
    output.document(document)
    return Exit.DONE
