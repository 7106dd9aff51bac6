"""The bench's side of the load generator: one Locust process and its control socket."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from hopbench.parts import STOP_BOUND_S
from loadgen.launch import command, environment
from services.children import end
from services.errors import CannotStart
from services.forks import ending, tail

SILENCE_BOUND_S = 20.0
"""It tells twice a second how far it is."""
READY_BOUND_S = 30.0
"""Importing locust and opening every connection takes two seconds on an idle core."""


class Generator:
    """One round's load. Use :func:`start_generator`."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        log: Path,
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer
        self._log = log

    @property
    def pid(self) -> int:
        return self._process.pid

    async def run(self, start_ns: int, tell: Callable[[int, int], None]) -> dict[str, Any]:
        """Follow the schedule from ``start_ns`` to its end; what the generator counted.

        ``tell`` gets requests sent and ended, twice a second. Raises CannotStart, the name
        notwithstanding, when the generator dies or breaks before it has finished.
        """
        self._writer.write(orjson.dumps({"start_ns": start_ns}) + b"\n")
        why: str | None = None
        while (message := await self._heard()) is not None:
            if "progress" in message:
                tell(message["progress"], message["done"])
            elif "broken" in message:
                # With what it has counted to follow, where it still can count.
                why = message["broken"]
            elif "finished" in message:
                counts: dict[str, Any] = message["finished"]
                return counts
        raise CannotStart("locust", why or await self._ending(), tail(self._log))

    async def ready(self) -> None:
        """Wait until every connection is open. Raises CannotStart."""
        try:
            async with asyncio.timeout(READY_BOUND_S):
                message = await self._message()
        except TimeoutError:
            raise CannotStart(
                "locust", f"was not ready in {READY_BOUND_S:g} s", tail(self._log)
            ) from None
        if message is None:
            raise CannotStart("locust", await self._ending(), tail(self._log))
        if "broken" in message:
            raise CannotStart("locust", message["broken"], tail(self._log))

    async def stop(self) -> None:
        """End the round, if it is still on, with its samples written; then the process."""
        if self._process.returncode is None:
            try:
                self._writer.write(b'{"stop": true}\n')
                async with asyncio.timeout(STOP_BOUND_S):
                    await self._process.wait()
            except (TimeoutError, ConnectionError):
                pass
        await self._end()

    async def kill(self) -> None:
        """End the process, whatever it does."""
        await self._end()

    async def _end(self) -> None:
        self._writer.close()
        await end(self._process, STOP_BOUND_S)

    async def _heard(self) -> dict[str, Any] | None:
        """The next message of a round. Raises CannotStart where it stays away."""
        try:
            async with asyncio.timeout(SILENCE_BOUND_S):
                return await self._message()
        except TimeoutError:
            why = f"has said nothing for {SILENCE_BOUND_S:g} s"
            raise CannotStart("locust", why, tail(self._log)) from None

    async def _message(self) -> dict[str, Any] | None:
        try:
            line = await self._reader.readline()
        except ConnectionError:
            return None
        return orjson.loads(line) if line.endswith(b"\n") else None

    async def _ending(self) -> str:
        try:
            async with asyncio.timeout(STOP_BOUND_S):
                return f"died ({ending(await self._process.wait())})"
        except TimeoutError:
            return "closed its control socket"


async def start_generator(plan: Path, log: Path, web_port: int | None) -> Generator:
    """Start Locust on ``plan``; it opens its connections and waits for the start.

    Call from the main thread.
    """
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with theirs, log.open("ab") as output:
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        try:
            process = await asyncio.create_subprocess_exec(
                *command(web_port),
                env=environment(os.environ, plan, theirs.fileno()),
                pass_fds=(theirs.fileno(),),
                cwd=plan.parent,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        except (OSError, asyncio.CancelledError):
            writer.close()
            raise
    return Generator(process, reader, writer, log)
