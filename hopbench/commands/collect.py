"""``hopbench collect``: the embedded OTLP collector alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hopbench import disk
from hopbench.collector.server import collect
from hopbench.exits import Exit
from hopbench.front.output import STDOUT, RefusedTarget


def command(
    *,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where to keep what arrives.")],
    host: Annotated[
        str, typer.Option("--host", help="The address to listen on, such as ::1.")
    ] = "127.0.0.1",
    grpc_port: Annotated[
        int, typer.Option("--grpc-port", min=0, max=65535, help="0 takes a free one.")
    ] = 4317,
    http_port: Annotated[
        int, typer.Option("--http-port", min=0, max=65535, help="0 takes a free one.")
    ] = 4318,
    json: Annotated[
        str | None,
        typer.Option("--json", metavar="-", help="A line of JSON with the ports, when ready."),
    ] = None,
) -> Exit:
    """Take OTLP from any exporter until Ctrl-C; `hopbench analyze DIR` reads what was kept."""
    if json not in (None, STDOUT):
        raise RefusedTarget("--json takes - here", hint="the line goes to standard output")
    out.mkdir(parents=True, exist_ok=True)
    disk.must_take(out)
    return Exit(
        collect(
            out,
            host=host,
            grpc_port=grpc_port,
            http_port=http_port,
            json_lines=json is not None,
        )
    )
