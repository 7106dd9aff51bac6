"""``hopbench generate``: a scenario of many services."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from hopbench.commands.init import write_new
from hopbench.exits import Exit
from hopbench.front.output import STDOUT, Output
from services.scenario.file.synthesis import MAX_SERVICES, Shape, generate


def command(
    *,
    services: Annotated[
        int, typer.Option("--services", min=1, max=MAX_SERVICES, help="How many services.")
    ] = 1000,
    shape: Annotated[
        Shape,
        typer.Option(
            "--shape",
            help="tree: one request visits all. layers: each calls some of the next layer. "
            "mesh: each calls some of those after it.",
        ),
    ] = "tree",
    seed: Annotated[
        int, typer.Option("--seed", min=0, help="The same seed, the same scenario.")
    ] = 1,
    output: Annotated[
        str, typer.Option("-o", "--output", metavar="FILE", help="Where to; - is standard output.")
    ] = STDOUT,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
) -> Exit:
    """Write a runnable scenario of many services, packed into a few processes.

    Without -o it goes to standard output: hopbench generate --services 1000 | hopbench run -
    """
    text = generate(services, shape, seed)
    if output == STDOUT:
        sys.stdout.write(text)
        return Exit.DONE
    write_new(Path(output), text, force=force)
    Output().note(f"wrote {output}; try: hopbench run {output}")
    return Exit.DONE
