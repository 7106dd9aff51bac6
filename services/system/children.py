"""How a process of ours starts another, and ends it: the same interpreter, the same packages.

``-P`` keeps the working directory off the module path: whoever runs hopbench may stand in a
directory that has a ``services`` of its own.
"""

from __future__ import annotations

import asyncio
import os
import signal
import site
import sys
from asyncio.subprocess import Process
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

HOME: Final = str(Path(__file__).parents[2])
"""The directory that our packages lie in."""


def command(module: str, *arguments: str) -> list[str]:
    """The command line for ``python -m module``."""
    return [sys.executable, "-P", "-m", module, *arguments]


def environment(inherited: Mapping[str, str]) -> dict[str, str]:
    """``inherited``, with which a child finds the packages of a checkout that is not installed."""
    if HOME in site.getsitepackages():
        return dict(inherited)
    path = [HOME, *filter(None, (inherited.get("PYTHONPATH"),))]
    return {**inherited, "PYTHONPATH": os.pathsep.join(dict.fromkeys(path))}


def send(process: Process, number: signal.Signals) -> None:
    """Send a signal to a child, if it lives.

    ``Process.kill`` polls first, up to Python 3.12, and so takes the exit status away from the
    loop, which then tells 255 (CPython gh-87744).
    """
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)


async def end(process: Process, bound_s: float) -> int:
    """Ask a child to end, then make it; its exit status, negative for a signal."""
    send(process, signal.SIGTERM)
    return await ended(process, bound_s)


async def ended(process: Process, bound_s: float) -> int:
    """Wait for a child that is about to end, then make it; its exit status."""
    try:
        async with asyncio.timeout(bound_s):
            return await process.wait()
    except TimeoutError:
        send(process, signal.SIGKILL)
        return await process.wait()


def ending(status: int) -> str:
    """``exit 1`` or ``SIGKILL``: how a process ended, for people."""
    if status >= 0:
        return f"exit {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"
