"""A standing master and its workers as real processes, as containers run them."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic_ns

from hopbench.engines.attached.generator import attach
from loadgen import launch
from loadgen.counts import Counts
from loadgen.plan import Plan
from services.system.endpoints import Endpoint
from services.system.tokens import TOKEN_VARIABLE

TOKEN = "a token of these tests"
_BOUND_S = 30.0


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        held = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [int(one.getsockname()[1]) for one in held]


@dataclass(slots=True)
class Cluster:
    directory: Path
    control: int
    web: int
    bind: int
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, *arguments: str, token: str | None = TOKEN) -> subprocess.Popen[bytes]:
        """``python -m loadgen.launch arguments``; what it says goes to the log of its kind."""
        variables = launch.environment(os.environ, None)
        variables.pop(TOKEN_VARIABLE, None)
        variables["TMPDIR"] = str(self.directory)
        if token is not None:
            variables[TOKEN_VARIABLE] = token
        with self.log(arguments[0]).open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "loadgen.launch", *arguments],
                env=variables,
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.processes.append(process)
        return process

    def master(self) -> subprocess.Popen[bytes]:
        return self.start(
            "master",
            f"--control=127.0.0.1:{self.control}",
            f"--web=127.0.0.1:{self.web}",
            f"--bind=127.0.0.1:{self.bind}",
        )

    def worker(self) -> subprocess.Popen[bytes]:
        return self.start("worker", f"--master=127.0.0.1:{self.bind}")

    def log(self, kind: str) -> Path:
        return self.directory / f"{kind}.log"

    def until(self, what: str, look: Callable[[], bool]) -> None:
        until = time.monotonic() + _BOUND_S
        while not look():
            logs = "\n".join(log.read_text() for log in self.directory.glob("*.log"))
            assert time.monotonic() < until, f"no {what}:\n{logs}"
            time.sleep(0.02)

    def joined(self, count: int) -> None:
        """Wait until the master in charge has seen so many workers come, all told."""
        log = self.log("master")
        self.until(
            f"{count} workers",
            lambda: log.is_file() and log.read_text().count("reported as ready") >= count,
        )

    async def play(
        self,
        plan: Plan,
        directory: Path,
        *,
        token: str = TOKEN,
        workers: int | None = None,
        at: Callable[[], object] | None = None,
    ) -> tuple[int, Counts]:
        """One round of a bench: its start, and what was counted. ``at`` is called once when
        requests have been sent. ``directory`` must exist. Raises CannotStart."""
        generator = await attach(
            Endpoint("127.0.0.1", self.control),
            token,
            plan,
            directory,
            directory / "log",
            workers=workers,
        )
        watch = None if at is None else asyncio.create_task(_once_sent(directory, at))
        try:
            await generator.ready()
            start_ns = monotonic_ns() + 100_000_000
            return start_ns, await generator.run(start_ns)
        finally:
            if watch is not None:
                watch.cancel()
            await generator.stop()


async def _once_sent(directory: Path, act: Callable[[], object]) -> None:
    """``act`` as soon as a sample has come back."""
    while not _sent(directory):  # noqa: ASYNC110  # files tell no event
        await asyncio.sleep(0.02)
    act()


def _sent(directory: Path) -> bool:
    spools = directory.glob("samples*.spool")
    return any(spool.read_bytes().partition(b"\n")[2] for spool in spools)


@contextmanager
def cluster(directory: Path, workers: int) -> Iterator[Cluster]:
    """A master and ``workers``, all joined; whatever happens, none is left."""
    directory.mkdir()
    control, web, bind = free_ports(3)
    found = Cluster(directory, control, web, bind)
    try:
        found.master()
        for _ in range(workers):
            found.worker()
        found.joined(workers)
        yield found
    finally:
        for process in found.processes:
            process.send_signal(signal.SIGKILL)
            process.wait(_BOUND_S)
