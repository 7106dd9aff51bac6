"""``hopbench render``: a scenario's parts as containers, for Compose or Kubernetes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from hopbench import options
from hopbench.commands.init import write_new
from hopbench.deploy import rendering
from hopbench.exits import Exit
from hopbench.output import STDOUT, Output
from services.scenario.parse import load


def command(
    kind: Annotated[
        str, typer.Argument(metavar="compose|kubernetes", help="For what.", show_default=False)
    ],
    scenario: options.Scenario,
    *,
    file: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE", help="Default: standard output.")
    ] = STDOUT,
    workers: options.Workers = 1,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
) -> Exit:
    """Write all parts that a scenario needs: its services, Kafka, Jaeger, Locust and the bench.

    What is written is complete: the scenario is in it, and it runs by `docker compose up`, or
    `kubectl apply`.
    """
    of = rendering.KINDS[options.one_of("render", kind, tuple(rendering.KINDS))]
    text = of.render(load(scenario), workers)
    if file == STDOUT:
        sys.stdout.write(text)
        return Exit.DONE
    write_new(Path(file), text, force=force)
    Output().note(f"wrote {file}; try: {of.then.format(file=file)}")
    return Exit.DONE
