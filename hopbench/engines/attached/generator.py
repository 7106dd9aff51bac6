"""The bench's side of a Locust that it did not start: a master that stands by in a container.

It is spoken to over TCP, and its workers send back what they record.
"""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import suppress
from pathlib import Path
from time import monotonic_ns
from typing import Final

import orjson

from hopbench.engines.wall.generator import LINE_BYTES, Generator
from hopbench.parts.part import STOP_BOUND_S
from loadgen.messages import Offer, Progress, Said, Samples, Start, Stop
from loadgen.plan import Plan
from services import codec
from services.errors import CannotStart
from services.system.endpoints import Endpoint

ATTACHED_SILENCE_BOUND_S: Final = 5.0
"""A container that vanishes closes no connection."""
_CONNECT_S: Final = 5.0


class AttachedGenerator(Generator):
    """A master elsewhere. Use :func:`attach`."""

    silence_bound_s = ATTACHED_SILENCE_BOUND_S

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        directory: Path,
        log: Path,
    ) -> None:
        super().__init__(reader, writer)
        self._directory = directory
        self._log = log
        self._spools: dict[str, _Received] = {}
        self._start_ns = 0

    @property
    def pids(self) -> tuple[int, ...]:
        return ()

    async def stop(self) -> None:
        try:
            self._order(Stop())
            async with asyncio.timeout(STOP_BOUND_S):
                while await self._next() is not None:
                    pass
        except (TimeoutError, ConnectionError, CannotStart):
            pass
        await self.kill()

    async def kill(self) -> None:
        self._hang_up()
        for spool in self._spools.values():
            spool.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()

    def _start(self, start_ns: int) -> Start:
        # Its host may have another CLOCK_MONOTONIC.
        self._start_ns = start_ns
        return Start(start_ns + time.time_ns() - monotonic_ns(), unix=True)

    async def _next(self) -> Said | None:
        while isinstance(said := await super()._next(), Samples):
            self._keep(Path(said.spool).name, said.data)
        if said is not None and not isinstance(said, Progress):
            with self._log.open("ab") as log:
                log.write(codec.encode(said) + b"\n")
        return said

    def _keep(self, name: str, data: bytes) -> None:
        if name not in self._spools:
            self._spools[name] = _Received(self._directory / name, self._start_ns)
        self._spools[name].add(data)

    def _failed(self, why: str) -> CannotStart:
        return CannotStart("locust", why)

    async def _ending(self) -> str:
        return "master has closed the connection"


class _Received:
    """A spool that comes in pieces. Its header is given our time of the schedule's zero."""

    def __init__(self, path: Path, start_ns: int) -> None:
        self._path = path
        self._start_ns = start_ns
        self._head: bytes | None = b""
        self._fd = -1

    def add(self, data: bytes) -> None:
        """Raises OSError where it cannot be written."""
        if self._head is not None:
            head, newline, data = (self._head + data).partition(b"\n")
            if not newline:
                self._head = head
                return
            self._head = None
            self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC)
            document = {**orjson.loads(head), "bench_start_ns": self._start_ns}
            data = orjson.dumps(document) + b"\n" + data
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


async def attach(
    address: Endpoint,
    token: str,
    plan: Plan,
    directory: Path,
    log: Path,
    *,
    workers: int | None = None,
) -> AttachedGenerator:
    """Give ``plan`` to the Locust master that stands by at ``address``.

    It is dealt to the workers that have joined, or to ``workers`` of them; their spools are written
    to ``directory`` as they come in, what the master says to ``log``. Raises CannotStart.
    """
    try:
        async with asyncio.timeout(_CONNECT_S):
            reader, writer = await asyncio.open_connection(*address, limit=LINE_BYTES)
    except (OSError, TimeoutError) as error:
        why = str(error) or f"no answer in {_CONNECT_S:g} s"
        raise CannotStart("locust", f"master does not answer at {address}: {why}") from None
    writer.write(codec.encode(Offer(token, plan.document(), workers)) + b"\n")
    return AttachedGenerator(reader, writer, directory, log)
