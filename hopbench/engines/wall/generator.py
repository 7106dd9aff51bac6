"""The bench's side of the load generator: Locust processes, and one line of control over them.

Here: one process, or a master and its workers, started for a round. Those of others:
hopbench/engines/attached/generator.py.
"""

from __future__ import annotations

import asyncio
import os
import socket
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from hopbench.parts.part import STOP_BOUND_S
from loadgen.counts import Counts
from loadgen.launch import command, environment, master_command, worker_command
from loadgen.messages import Broken, Finished, Listening, Ordered, Ready, Said, Start, Stop
from services import codec
from services.errors import CannotStart
from services.system.children import end, ending
from services.system.logs import tail

SILENCE_BOUND_S: Final = 20.0
"""It tells twice a second how far it is."""
READY_BOUND_S: Final = 30.0
"""Importing locust and opening every connection takes two seconds on an idle core."""
LINE_BYTES: Final = 1 << 20
"""Samples come in lines of 200 kB; the counts of a worker take some 700 bytes of one."""


class Generator(ABC):
    """One round's load, over a line of control (loadgen/messages.py)."""

    silence_bound_s = SILENCE_BOUND_S

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._reading: asyncio.Task[bytes] | None = None

    @property
    @abstractmethod
    def pids(self) -> tuple[int, ...]:
        """Of its processes on this host: the one, or the master's and then the workers'."""

    async def ready(self) -> None:
        """Wait until every connection is open. Raises CannotStart."""
        try:
            async with asyncio.timeout(READY_BOUND_S):
                said = await self._next()
                while not isinstance(said, Ready | Broken | None):
                    said = await self._next()
        except TimeoutError:
            raise self._failed(f"was not ready in {READY_BOUND_S:g} s") from None
        if said is None:
            raise self._failed(await self._ending())
        if isinstance(said, Broken):
            raise self._failed(said.why)

    async def run(self, start_ns: int) -> Counts:
        """Follow the schedule from ``start_ns`` to its end; what the generator counted.

        Raises CannotStart, the name notwithstanding, when the generator dies or breaks before it
        has finished.
        """
        self._order(self._start(start_ns))
        why: str | None = None
        while (said := await self._heard()) is not None:
            if isinstance(said, Broken):
                # With what it has counted to follow, where it still can count.
                why = said.why
            elif isinstance(said, Finished):
                return said.counts
        raise self._failed(why or await self._ending())

    @abstractmethod
    async def stop(self) -> None:
        """End the round, if it is still on, with its samples written; then the processes."""

    @abstractmethod
    async def kill(self) -> None:
        """End it, whatever it does."""

    def _start(self, start_ns: int) -> Start:
        return Start(start_ns)

    def _order(self, order: Ordered) -> None:
        self._writer.write(codec.encode(order) + b"\n")

    @abstractmethod
    def _failed(self, why: str) -> CannotStart: ...

    @abstractmethod
    async def _ending(self) -> str:
        """Why it says nothing more."""

    async def _heard(self) -> Said | None:
        """The next message of a round. Raises CannotStart where it stays away."""
        try:
            async with asyncio.timeout(self.silence_bound_s):
                return await self._next()
        except TimeoutError:
            raise self._failed(f"has said nothing for {self.silence_bound_s:g} s") from None

    async def _next(self) -> Said | None:
        """The next message; None when there will be no more. Raises CannotStart for a death that is
        seen elsewhere."""
        if self._reading is None:
            self._reading = asyncio.create_task(self._line())
        waits = {self._reading, *self._deaths()}
        done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        if self._reading not in done:
            raise done.pop().result()
        line, self._reading = self._reading.result(), None
        if not line.endswith(b"\n"):
            return None
        try:
            said: Said = codec.decode(Said, line)
        except codec.Unfit:
            text = f"answers, but not as a generator does: {line[:80]!r}"
            raise self._failed(text) from None
        return said

    def _deaths(self) -> Sequence[asyncio.Task[Any]]:
        return ()

    async def _line(self) -> bytes:
        try:
            return await self._reader.readline()
        except (ConnectionError, ValueError):  # the latter: longer than any line of control
            return b""

    def _hang_up(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
        self._writer.close()


class _Worker:
    """A Locust worker of this host."""

    def __init__(self, number: int, process: asyncio.subprocess.Process, log: Path) -> None:
        self.process = process
        self.death = asyncio.create_task(self._died(number, log))

    async def _died(self, number: int, log: Path) -> CannotStart:
        status = await self.process.wait()
        return CannotStart("locust", f"worker {number} died ({ending(status)})", tail(log))

    def told(self, master: str) -> None:
        """Tell it where the master listens."""
        assert self.process.stdin is not None
        self.process.stdin.write(master.encode() + b"\n")

    async def end(self) -> None:
        self.death.cancel()
        await end(self.process, STOP_BOUND_S)


class LocalGenerator(Generator):
    """Processes of this host. Use :func:`start_generator`."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        log: Path,
        workers: Sequence[_Worker] = (),
    ) -> None:
        """``process`` holds the other end of the control: the only one, or the master."""
        super().__init__(reader, writer)
        self._process = process
        self._log = log
        self._workers = workers

    @property
    def pids(self) -> tuple[int, ...]:
        return (self._process.pid, *(worker.process.pid for worker in self._workers))

    async def stop(self) -> None:
        if self._process.returncode is None:
            try:
                self._order(Stop())
                async with asyncio.timeout(STOP_BOUND_S):
                    await self._process.wait()
            except (TimeoutError, ConnectionError):
                pass
        await self.kill()

    async def kill(self) -> None:
        self._hang_up()
        # A worker that is still sending writes its samples before it goes.
        await asyncio.gather(
            end(self._process, STOP_BOUND_S), *(worker.end() for worker in self._workers)
        )

    async def _next(self) -> Said | None:
        said = await super()._next()
        if isinstance(said, Listening):
            for worker in self._workers:
                worker.told(said.at)
        return said

    def _deaths(self) -> Sequence[asyncio.Task[Any]]:
        return [worker.death for worker in self._workers]

    def _failed(self, why: str) -> CannotStart:
        return CannotStart("locust", why, tail(self._log))

    async def _ending(self) -> str:
        try:
            async with asyncio.timeout(STOP_BOUND_S):
                how = f"died ({ending(await self._process.wait())})"
        except TimeoutError:
            how = "closed its control socket"
        return f"master {how}" if self._workers else how


async def start_generator(
    plan: Path, log: Path, web_port: int | None, workers: int = 1
) -> LocalGenerator:
    """Start Locust on ``plan``; it opens its connections and waits for the start.

    Above one, ``workers`` are processes beside a master, and each writes ``samples-K.spool``. Call
    from the main thread.
    """
    process: asyncio.subprocess.Process | None = None
    started: list[_Worker] = []
    output = log.open("ab")
    ours, theirs = socket.socketpair()
    with theirs, output:
        ours.setblocking(False)
        reader, writer = await asyncio.open_unix_connection(sock=ours, limit=LINE_BYTES)
        try:
            process = await asyncio.create_subprocess_exec(
                *(command(web_port) if workers == 1 else master_command(workers, web_port)),
                env=environment(os.environ, plan, theirs.fileno()),
                pass_fds=(theirs.fileno(),),
                cwd=plan.parent,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
            numbers = range(workers if workers > 1 else 0)
            for number in numbers:  # one by one, so that those there are known at any time
                started += [await _start_worker(number, plan.parent, log)]
        except (OSError, asyncio.CancelledError):
            writer.close()
            await asyncio.gather(*(worker.end() for worker in started))
            if process is not None:
                await end(process, STOP_BOUND_S)
            raise
    return LocalGenerator(process, reader, writer, log, started)


async def _start_worker(number: int, directory: Path, master_log: Path) -> _Worker:
    log = master_log.with_name(f"{master_log.stem}-worker-{number}.log")
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *worker_command(number),
            env=environment(os.environ, None),
            cwd=directory,
            stdin=asyncio.subprocess.PIPE,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    return _Worker(number, process, log)
