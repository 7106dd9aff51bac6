"""The node's view of its fork server: processes that can be started, asked and seen to end."""

from __future__ import annotations

import asyncio
import os
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path

from services import codec
from services.errors import CannotStart
from services.node.messages import Exited, Fork, Forked, Load, Loaded, Ordered, Told
from services.process.channel import Channel, open_channel
from services.process.job import Job
from services.process.orders import Listening
from services.scenario.packing import Pack
from services.system import children, logs
from services.system.children import ended, ending, environment

_END_S = 2.0
"""From the end of its channel to its own."""


@dataclass(slots=True)
class Child:
    """One service process. ``exit`` ends with its exit code, negative for a signal."""

    pack: Pack
    pid: int
    log: Path
    channel: Channel
    exit: asyncio.Future[int]
    listening: tuple[Listening, ...] = ()
    """What the process said when it came up."""
    expected_to_end: bool = False

    @property
    def name(self) -> str:
        return self.pack.name

    def tail(self) -> str:
        """The end of its log."""
        return logs.tail(self.log)


def command(parent: int, fd: int) -> list[str]:
    """The command line that starts a fork server for the process ``parent``.

    By name: a node is small, and what the fork server imports is not.
    """
    return children.command("services.node.fork_server", f"--parent={parent}", f"--fd={fd}")


class Forks:
    """Start with :meth:`start`; everything else only after it."""

    def __init__(self) -> None:
        self._children: dict[int, Child] = {}
        self._early: dict[int, int] = {}
        self._turn = asyncio.Lock()
        self._answers: asyncio.Queue[Loaded | Forked | None] = asyncio.Queue()

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

    async def load(self, job: Job) -> None:
        """Make ``job`` the one that children work on. Raises CannotStart with what is wrong."""
        with tempfile.TemporaryFile() as file:
            file.write(codec.encode(job))
            file.flush()
            file.seek(0)
            answer = await self._ask(Load(), file.fileno())
        if isinstance(answer, Loaded) and answer.refused is not None:
            raise CannotStart("scenario", answer.refused)

    async def fork(self, pack: Pack, log: Path) -> Child:
        """Start a process for the replicas of ``pack``; it is not ready yet."""
        title = f"{pack.name} ({len(pack.replicas)} services)" if pack.shared else pack.name
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                answer = await self._ask(Fork(pack, title, str(log)), theirs.fileno())
        except CannotStart:
            ours.close()
            raise
        assert isinstance(answer, Forked)
        pid = answer.pid
        exit_ = asyncio.get_running_loop().create_future()
        child = Child(pack, pid, log, await open_channel(ours), exit_)
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

    async def _ask(self, order: Ordered, fd: int) -> Loaded | Forked:
        async with self._turn:
            try:
                socket.send_fds(self._socket, [codec.encode(order) + b"\n"], [fd])
            except OSError as error:
                raise CannotStart("fork server", await self._how_it_ended()) from error
            answer = await self._answers.get()
        if answer is None:
            raise CannotStart("fork server", await self._how_it_ended())
        return answer

    async def _how_it_ended(self) -> str:
        return f"died ({ending(await ended(self._process, _END_S))})"

    async def _listen(self) -> None:
        told: Told | None
        while (told := await self._channel.receive(Told)) is not None:
            if isinstance(told, Exited):
                self._ended(told.pid, told.status)
            else:
                self._answers.put_nowait(told)
        self._answers.put_nowait(None)

    def _ended(self, pid: int, status: int) -> None:
        child = self._children.pop(pid, None)
        if child is None:
            # It ended before the answer to its fork was read.
            self._early[pid] = status
        elif not child.exit.done():
            child.exit.set_result(status)
