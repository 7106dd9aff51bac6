"""Builders and a real generator process for the tests of the load generator."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic_ns
from typing import Any, TypeVar

from loadgen import launch
from loadgen.messages import Ordered, Ready, Said, Start
from loadgen.plan import Plan
from loadgen.spool.reader import Spool, read
from services import codec
from services.scenario.distributions import Constant, Distribution
from services.scenario.model import Entry, Load, Protocol, Target
from services.scenario.pace import Open
from services.wire.ports import Address

S = TypeVar("S")

SECOND = 1_000_000_000
MS = 1_000_000


def entry(
    operation: str = "fast",
    *,
    protocol: Protocol = "http",
    weight: float = 1.0,
    request: Distribution | None = None,
    response: Distribution | None = None,
    keys: int | None = None,
    timeout_ms: int = 5000,
) -> Entry:
    return Entry(
        target=Target("shop", operation),
        protocol=protocol,
        weight=weight,
        request_bytes=request or Constant(100),
        response_bytes=response or Constant(200),
        key_distinct=keys,
        timeout_ns=timeout_ms * MS,
    )


def load(
    *entries: Entry,
    arrivals: Any = "poisson",
    rate: float = 200.0,
    seconds: float = 0.5,
    warmup: float = 0.1,
    max_in_flight: int = 100,
) -> Load:
    return Load(
        pace=Open(arrivals, rate),
        duration_ns=int(seconds * SECOND),
        warmup_ns=int(warmup * SECOND),
        max_in_flight=max_in_flight,
        entries=entries or (entry(),),
    )


def plan(load: Load, address: Address, directory: Path, **more: Any) -> Plan:
    settings: dict[str, Any] = {"seed": 7, "trace_ratio": 0.5, "tracing": True, "trace_salt": 1}
    settings["samples"] = directory / "samples.spool"
    settings["addresses"] = tuple((address,) for _ in load.entries)
    return Plan(load=load, **(settings | more))


@dataclass(slots=True)
class Running:
    """A generator process under the bench's hand."""

    plan: Plan
    process: subprocess.Popen[bytes]
    control: socket.socket
    log: Path
    messages: list[Said] = field(default_factory=list)
    _pending: bytes = b""

    def say(self, order: Ordered) -> None:
        self.control.sendall(codec.encode(order) + b"\n")

    def start(self, in_ns: int = 20 * MS) -> int:
        """Wait until it is ready and give the word; the schedule's zero."""
        if not any(isinstance(said, Ready) for said in self.messages):
            self.hear(Ready)
        start_ns = monotonic_ns() + in_ns
        self.say(Start(start_ns))
        return start_ns

    def hear(self, kind: type[S]) -> S:
        """The next message of that kind; fails when the generator ends."""
        while True:
            while b"\n" not in self._pending:
                block = self.control.recv(65536)
                assert block, f"no {kind.__name__} came; {self.messages}; {self.log.read_text()}"
                self._pending += block
            line, _, self._pending = self._pending.partition(b"\n")
            said: Said = codec.decode(Said, line)
            self.messages.append(said)
            if isinstance(said, kind):
                return said

    def end(self) -> int:
        """Wait until the process has ended; its exit code."""
        return self.process.wait(timeout=20)

    def samples(self) -> Spool:
        return read(self.plan.samples)


@contextmanager
def generator(plan: Plan, directory: Path, web_port: int | None = None) -> Iterator[Running]:
    """A generator process; whatever happens, none is left."""
    plan.write(directory / "plan.json")
    ours, theirs = socket.socketpair()
    ours.settimeout(20)
    log = directory / "locust.log"
    with ours, log.open("wb") as out:
        process = subprocess.Popen(
            launch.command(web_port),
            env=launch.environment(os.environ, directory / "plan.json", theirs.fileno()),
            cwd=directory,
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )
        theirs.close()
        with process:
            try:
                yield Running(plan, process, ours, log)
            finally:
                process.kill()
