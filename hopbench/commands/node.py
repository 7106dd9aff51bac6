"""``hopbench node``: the supervisor of service processes, as a container runs it."""

from __future__ import annotations

from typing import Annotated

import typer

from hopbench.exits import Exit
from services.node.server import node


def command(
    *,
    host: Annotated[
        str, typer.Option("--host", help="The address to listen on, such as ::1.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")] = 0,
) -> Exit:
    """Start and stop service processes on a bench's word (HOPBENCH_TOKEN has the token)."""
    return Exit(node(host, port))
