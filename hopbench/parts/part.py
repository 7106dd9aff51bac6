"""A part: a process of the bench's own (collector, node) that is started, watched and stopped.

It dies with the bench (services/system/death.py), tells in one JSON line on its standard output
that it is ready, and writes everything else to its log.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Generic, TypeVar

from services import codec
from services.errors import CannotStart
from services.system.children import command, end, ended, ending
from services.system.children import environment as inheritance
from services.system.logs import tail

START_BOUND_S: Final = 20.0
STOP_BOUND_S: Final = 5.0
_LAST_WORDS_S: Final = 1.0

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class LastWords:
    """A part's last line, where it can say why it ends: a full disk takes no log."""

    broken: str | None = None


@dataclass(frozen=True, slots=True)
class Part(Generic[R]):
    """A running part. ``ready`` is what it said of itself."""

    name: str
    process: asyncio.subprocess.Process
    log: Path
    ready: R

    @property
    def pid(self) -> int:
        return self.process.pid

    async def died(self) -> str:
        """Wait until it ends, and tell how, with the tail of its log."""
        status = await self.process.wait()
        return told(self.name, status, self.log, await self._last_words())

    async def _last_words(self) -> str | None:
        assert self.process.stdout is not None
        try:
            async with asyncio.timeout(_LAST_WORDS_S):
                *_, last = (await self.process.stdout.read()).splitlines() or [b"{}"]
            return codec.decode(LastWords, last).broken
        except (TimeoutError, codec.Unfit):
            return None

    async def stop(self) -> int:
        """Ask it to end, then make it; returns its exit code, negative for a signal."""
        return await end(self.process, STOP_BOUND_S)


def told(name: str, status: int, log: Path, why: str | None = None) -> str:
    """``collector died (SIGKILL)`` and what it said last."""
    said = tail(log)
    how = f"{name} died ({ending(status)})" + (f": {why}" if why else "")
    return how + (f"; its log ends:\n{said}" if said else "")


async def start_part(
    name: str,
    module: str,
    arguments: Sequence[str],
    log: Path,
    *,
    ready: type[R],
    environment: Mapping[str, str] | None = None,
) -> Part[R]:
    """Start ``python -m module`` and wait until it says that it is ``ready``.

    It gets ``--parent`` with our pid, and a pipe from us as standard input. Call from the main
    thread. Raises CannotStart with what it said on standard error.
    """
    with log.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            *command(module, *arguments, f"--parent={os.getpid()}"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            env={**inheritance(os.environ), **(environment or {})},
            # Ctrl-C is for the bench alone: what drains still needs its parts.
            start_new_session=True,
        )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(START_BOUND_S):
            line = await process.stdout.readline()
        return Part(name, process, log, codec.decode(ready, line))
    except TimeoutError:
        await ended(process, 0.0)
        raise CannotStart(name, f"did not come up in {START_BOUND_S:g} s", tail(log)) from None
    except codec.Unfit:
        # Its standard output is closed, so it is about to end.
        how = ending(await ended(process, STOP_BOUND_S))
        raise CannotStart(name, f"ended while starting ({how})", tail(log)) from None
    except asyncio.CancelledError:
        await ended(process, 0.0)
        raise
