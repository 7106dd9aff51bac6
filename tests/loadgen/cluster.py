"""A standing master and its workers as real processes, as containers run them."""

from __future__ import annotations

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
from typing import Any

from hopbench.engines.attached.generator import attach
from loadgen import launch
from loadgen.plan import Plan
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
    ) -> tuple[int, dict[str, Any]]:
        """One round of a bench: its start, and what was counted. ``at`` is called once when
        requests have been sent. ``directory`` must exist. Raises CannotStart."""
        generator = await attach(
            ("127.0.0.1", self.control), token, plan, directory, directory / "log", workers=workers
        )
        left = [] if at is None else [at]

        def tell(sent: int, _ended: int) -> None:
            if sent and left:
                left.pop()()

        try:
            await generator.ready()
            start_ns = monotonic_ns() + 100_000_000
            return start_ns, await generator.run(start_ns, tell)
        finally:
            await generator.stop()


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
