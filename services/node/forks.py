"""The node's view of its fork server: processes that can be started, asked and seen to end."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from services.errors import CannotStart
from services.process.channel import Channel, open_channel
from services.scenario.packing import Group
from services.system import children
from services.system.children import ended, environment

_END_S = 2.0
"""From the end of its channel to its own."""
_PADDING = "." * 80
"""An argument whose only use is its length: a title has room for as much as the original."""
_TAIL_BYTES = 4000
_TAIL_LINES = 20
LOG_BYTES = 256 * 1024
"""Of each log that a node keeps to itself, its end goes to the bench."""


@dataclass(slots=True)
class Child:
    """One service process. ``exit`` ends with its exit code, negative for a signal."""

    name: str
    """``order/0``, or ``pack/0`` of one that several replicas share."""
    group: Group
    pid: int
    log: Path
    channel: Channel
    exit: asyncio.Future[int]
    ready: list[dict[str, Any]] = field(default_factory=list)
    """What the process said when it listened: ``service``, ``replica``, ``host``, ``http_port``,
    ``grpc_port`` of each replica."""
    expected_to_end: bool = False

    def tail(self) -> str:
        """The end of its log."""
        return tail(self.log)


def tail(log: Path) -> str:
    """The last lines of a log, at most 4 kB; empty where there is none."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-_TAIL_LINES:])


def log_end(log: Path) -> str:
    """As much of it as an answer has room for; empty where there is none."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - LOG_BYTES))
            return file.read().decode(errors="replace")
    except OSError:
        return ""


def ending(status: int) -> str:
    """``exit 1`` or ``SIGKILL``: how a process ended, for people."""
    if status >= 0:
        return f"exit {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"


def command(parent: int, fd: int) -> list[str]:
    """The command line that starts a fork server for the process ``parent``.

    By name: a node is small, and what the fork server imports is not.
    """
    return children.command(
        "services.node.fork_server", f"--parent={parent}", f"--fd={fd}", f"--padding={_PADDING}"
    )


class Forks:
    """Start with :meth:`start`; everything else only after it."""

    def __init__(self) -> None:
        self._children: dict[int, Child] = {}
        self._early: dict[int, int] = {}
        self._turn = asyncio.Lock()
        self._answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def start(self) -> None:
        ours, theirs = socket.socketpair()
        os.set_inheritable(theirs.fileno(), True)
        self._process = await asyncio.create_subprocess_exec(
            *command(os.getpid(), theirs.fileno()),
            pass_fds=(theirs.fileno(),),
            stdin=asyncio.subprocess.DEVNULL,
            env=environment(os.environ),
        )
        theirs.close()
        # Messages with file descriptors go out on the socket itself, answers come in by lines.
        self._socket = ours
        self._channel = await open_channel(ours.dup())
        self._listener = asyncio.create_task(self._listen())

    @property
    def pid(self) -> int:
        return self._process.pid

    async def gone(self) -> str:
        """Wait until the fork server ends, and tell how."""
        return f"fork server: {ending(await self._process.wait())}"

    async def load(self, job: dict[str, Any]) -> None:
        """Make ``job`` the one that children work on. Raises CannotStart with what is wrong."""
        with tempfile.TemporaryFile() as file:
            file.write(orjson.dumps(job))
            file.flush()
            file.seek(0)
            answer = await self._ask({"do": "load"}, file.fileno())
        if answer["loaded"] is not None:
            raise CannotStart("scenario", answer["loaded"])

    async def fork(self, name: str, group: Group, log: Path) -> Child:
        """Start a process for the replicas of ``group``; it is not ready yet."""
        title = name if len(group) == 1 else f"{name} ({len(group)} services)"
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                message = {
                    "do": "fork",
                    "name": name,
                    "group": group,
                    "title": title,
                    "log": str(log),
                }
                answer = await self._ask(message, theirs.fileno())
        except CannotStart:
            ours.close()
            raise
        pid: int = answer["forked"]
        child = Child(
            name,
            group,
            pid,
            log,
            await open_channel(ours),
            asyncio.get_running_loop().create_future(),
        )
        self._children[pid] = child
        if pid in self._early:
            self._ended(pid, self._early.pop(pid))
        return child

    async def close(self) -> None:
        """End the fork server; children that are left die with it."""
        self._listener.cancel()
        self._channel.close()
        self._socket.close()
        await ended(self._process, _END_S)

    async def _ask(self, message: dict[str, Any], fd: int) -> dict[str, Any]:
        async with self._turn:
            try:
                socket.send_fds(self._socket, [orjson.dumps(message) + b"\n"], [fd])
            except OSError as error:
                raise CannotStart("fork server", await self._how_it_ended()) from error
            answer = await self._answers.get()
        if not answer:
            raise CannotStart("fork server", await self._how_it_ended())
        return answer

    async def _how_it_ended(self) -> str:
        return f"died ({ending(await ended(self._process, _END_S))})"

    async def _listen(self) -> None:
        while (message := await self._channel.receive()) is not None:
            if "exited" in message:
                self._ended(message["exited"], message["status"])
            else:
                self._answers.put_nowait(message)
        self._answers.put_nowait({})

    def _ended(self, pid: int, status: int) -> None:
        child = self._children.pop(pid, None)
        if child is None:
            # It ended before the answer to its fork was read.
            self._early[pid] = status
        elif not child.exit.done():
            child.exit.set_result(status)
