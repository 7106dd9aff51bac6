"""A fleet without containers: the very commands that containers run, as processes on 127.0.0.x.

Each node has an address of its own, as a container has; Locust is a master and its workers.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import orjson

TOKEN = "a token for tests"
_READY_S = 30.0
_END_S = 15.0


@dataclass
class Member:
    """One process, as one container."""

    name: str
    command: tuple[str, ...]
    log: Path
    environment: Mapping[str, str]
    process: subprocess.Popen[bytes] | None = None
    address: str = ""
    """``HOST:PORT`` that others find it at."""

    def start(self) -> None:
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if self.name.startswith("node") else output,
                stderr=output,
                env={**os.environ, **self.environment},
                cwd=self.log.parent,
                start_new_session=True,
            )

    def ready(self) -> dict[str, object]:
        """The line that a node says of itself."""
        assert self.process is not None
        out: IO[bytes] | None = self.process.stdout
        assert out is not None
        line = out.readline()
        assert line, self.log.read_text()
        said: dict[str, object] = orjson.loads(line)
        return said

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def kill(self) -> None:
        """As ``docker kill``: every process of the container at once."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(_END_S)
        self._close()

    def stop(self) -> int:
        """As ``docker stop``; its exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(_END_S)
            except subprocess.TimeoutExpired:
                self.kill()
        self._close()
        return self.process.returncode

    def _close(self) -> None:
        if self.process is not None and self.process.stdout is not None:
            self.process.stdout.close()


@dataclass
class Fleet:
    directory: Path
    nodes: dict[str, list[Member]] = field(default_factory=dict)
    """By service."""
    locust: dict[str, Member] = field(default_factory=dict)
    """``master``, ``worker-0``…"""
    control: str = ""
    token: str = TOKEN

    @property
    def environment(self) -> dict[str, str]:
        """Of the bench's container."""
        return {
            "HOPBENCH_NODES": ",".join(
                f"{service}={member.address}"
                for service, members in self.nodes.items()
                for member in members
            ),
            "HOPBENCH_LOCUST": self.control,
            "HOPBENCH_TOKEN": self.token,
        }

    @property
    def members(self) -> Iterable[Member]:
        yield from (member for members in self.nodes.values() for member in members)
        yield from self.locust.values()

    def restart(self, member: Member) -> None:
        """As a restart policy does: the same container at the same address."""
        host, _, port = member.address.partition(":")
        member.command = (*_node(host), "--port", port)
        member.start()
        member.ready()


def _node(host: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "hopbench", "node", "--host", host)


def free_port(host: str = "127.0.0.1") -> int:
    with socket.create_server((host, 0)) as sock:
        port: int = sock.getsockname()[1]
    return port


@contextlib.contextmanager
def fleet(directory: Path, services: Mapping[str, int], workers: int = 2) -> Iterator[Fleet]:
    """``services`` says how many nodes each has. Everything has ended when the block has."""
    found = Fleet(directory)
    directory.mkdir(parents=True, exist_ok=True)
    token = {"HOPBENCH_TOKEN": TOKEN}
    last = 1
    try:
        for service, count in services.items():
            for number in range(count):
                last += 1
                name = f"node-{service}-{number}"
                member = Member(
                    name,
                    (*_node(f"127.0.0.{last}"), "--port", "0"),
                    directory / f"{name}.log",
                    token,
                )
                found.nodes.setdefault(service, []).append(member)
                member.start()
        if workers:
            _locust(found, workers, token)
        for member in (member for members in found.nodes.values() for member in members):
            said = member.ready()
            member.address = f"{said['host']}:{said['port']}"
        if workers:
            listening(found.control)
        yield found
    finally:
        for member in found.members:
            if member.process is not None and member.process.poll() is None:
                member.process.terminate()
        for member in found.members:
            if member.process is not None:
                member.stop()


def _locust(found: Fleet, workers: int, token: Mapping[str, str]) -> None:
    launch = (sys.executable, "-m", "loadgen.launch")
    found.control = f"127.0.0.1:{free_port()}"
    bound = free_port()
    commands = {
        "master": (
            *(*launch, "master", "--control", found.control, "--bind", f"127.0.0.1:{bound}"),
            *("--web", f"127.0.0.1:{free_port()}"),
        ),
        **{
            f"worker-{number}": (*launch, "worker", "--master", f"127.0.0.1:{bound}")
            for number in range(workers)
        },
    }
    for name, command in commands.items():
        own = found.directory / name
        own.mkdir()
        found.locust[name] = Member(name, command, own / "log", token)
        found.locust[name].start()


def listening(address: str) -> None:
    """Wait until somebody listens at ``HOST:PORT``."""
    host, _, port = address.partition(":")
    until = time.monotonic() + _READY_S
    while True:
        try:
            socket.create_connection((host, int(port)), 1.0).close()
        except OSError:
            assert time.monotonic() < until, f"nobody listens at {address}"
            time.sleep(0.05)
        else:
            return
