"""``hopbench schema``: what documents and scenario files may hold, for editors and scripts."""

from __future__ import annotations

from typing import Annotated

import typer

from hopbench.exits import Exit
from hopbench.front import documents
from hopbench.front.output import STDOUT, write_document


def command(
    name: Annotated[
        str | None, typer.Argument(help="The document; none lists them.", show_default=False)
    ] = None,
) -> Exit:
    """Print the JSON Schema of a document, or of the scenario file."""
    if name is None:
        print("\n".join(documents.names()))
    else:
        write_document(STDOUT, documents.schema(name))
    return Exit.DONE
