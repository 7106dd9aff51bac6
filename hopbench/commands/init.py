"""``hopbench init``: a commented scenario to start from."""

from __future__ import annotations

import os
import sys
from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from hopbench import disk
from hopbench.exits import Exit
from hopbench.front.output import STDOUT, Output, write
from services.errors import BadInput, CannotStart
from services.scenario.file.parser import bundled
from services.scenario.text.reader import did_you_mean


def starter(name: str | None) -> str:
    """The text of the bundled scenario ``name``, or of the commented starter.

    Raises BadInput with the names that exist.
    """
    if name is None:
        return resources.files("services.scenario.file").joinpath("starter.yaml").read_text("utf-8")
    known = bundled()
    if name not in known:
        hint = did_you_mean(name, known) or f"bundled: {', '.join(known)}"
        raise BadInput(f"there is no bundled scenario {name!r}", hint=hint)
    return known[name]


def write_new(path: Path, text: str, *, force: bool) -> None:
    """Write the file; BadInput where it exists already, unless forced, or can't be written."""
    if not force and os.path.lexists(path):
        raise BadInput("exists already", str(path), hint="--force overwrites it")
    try:
        write(str(path), text.encode())
    except OSError as error:
        if isinstance(disk.refusal(error), CannotStart):
            raise
        raise BadInput(f"cannot be written: {error.strerror}", str(path)) from None


def command(
    file: Annotated[
        str, typer.Argument(help="Where to write it; - for standard output.")
    ] = "scenario.yaml",
    *,
    source: Annotated[
        str | None,
        typer.Option("--from", help="A bundled scenario to start from instead.", metavar="NAME"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
) -> Exit:
    """Write a commented scenario to start from."""
    text = starter(source)
    if file == STDOUT:
        sys.stdout.write(text)
        return Exit.DONE
    write_new(Path(file), text, force=force)
    Output().note(f"wrote {file}; try: hopbench run {file}")
    return Exit.DONE
