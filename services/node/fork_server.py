"""The fork server: imports everything once, then forks the service processes.

A forked process starts in milliseconds and shares the imported libraries' memory. multiprocessing
has a fork server, too; this one is ours because each child needs a title, a log and a parent-death
signal before it runs anything, and because its exit must be told at once, with signal and status.

Nothing here starts a thread, an event loop or gRPC's core: none survives a fork.

Messages (services/node/messages.py) are lines of JSON, the node's with a file descriptor beside
each, the next only after the answer. A job is parsed once, for all children.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import os
import selectors
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import NoReturn

from services import codec
from services.errors import BadInput
from services.node.messages import Exited, Fork, Forked, Load, Loaded, Ordered, Told
from services.process.job import Job, Work, work
from services.process.process import run_services
from services.system.death import BUG, die_with
from services.system.title import set_title

PRELOAD = (
    "services.transports.http",
    "services.transports.grpc",
    "services.transports.kafka.transport",
)
"""What children will use, beyond what services.process.process imports itself."""
_LARGEST_MESSAGE = 64 * 1024


class ForkServer:
    """Single-threaded, blocking: waits for messages and for children that end."""

    def __init__(self, node: socket.socket) -> None:
        self._node = node
        self._work: Work | None = None
        self._children: set[int] = set()
        self._wake_r, self._wake_w = socket.socketpair()
        for end in (self._wake_r, self._wake_w):
            end.setblocking(False)

    def run(self) -> None:
        """Until the node closes its end. Children then die with this process."""
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.set_wakeup_fd(self._wake_w.fileno(), warn_on_full_buffer=False)
        with selectors.DefaultSelector() as selector:
            selector.register(self._node, selectors.EVENT_READ)
            selector.register(self._wake_r, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fileobj is self._wake_r:
                        self._wake_r.recv(4096)
                        self._reap()
                    else:
                        message, fds = self._message()
                        if not message:
                            return
                        order: Ordered = codec.decode(Ordered, message)
                        self._obey(order, fds[0])

    def _message(self) -> tuple[bytes, list[int]]:
        message, fds, _, _ = socket.recv_fds(self._node, _LARGEST_MESSAGE, 1)
        while message and not message.endswith(b"\n"):
            more = self._node.recv(_LARGEST_MESSAGE)
            message = message + more if more else b""
        return message, fds

    def _obey(self, order: Ordered, fd: int) -> None:
        match order:
            case Load():
                self._tell(Loaded(self._load(fd)))
            case Fork():
                pid = self._fork(order, fd)
                self._children.add(pid)
                os.close(fd)
                self._tell(Forked(pid))

    def _load(self, fd: int) -> str | None:
        with os.fdopen(fd, "rb") as file:
            text = file.read()
        try:
            self._work = work(codec.decode(Job, text))
        except BadInput as error:
            return str(error)
        # What exists now is shared with every child for as long as nobody writes to it, and the
        # collector would: it counts in the objects' heads.
        gc.collect()
        gc.freeze()
        return None

    def _fork(self, order: Fork, control: int) -> int:
        assert self._work is not None
        here = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._child(here, self._work, order, control)
        return pid

    def _child(self, parent: int, work: Work, order: Fork, control: int) -> NoReturn:
        """Never returns into the loop of the parent, whatever happens."""
        status = BUG
        try:
            die_with(parent)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for end in (self._node, self._wake_r, self._wake_w):
                end.close()
            _redirect(Path(order.log))
            set_title(f"hopbench: {order.title}")
            gc.enable()
            status = run_services(work, order.pack, control)
        except BaseException:  # the last frame of this process: it reports and leaves
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def _reap(self) -> None:
        # By pid, not by -1: a library's own child must keep its exit status.
        for pid in list(self._children):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                self._children.discard(pid)
                self._tell(Exited(pid, os.waitstatus_to_exitcode(status)))

    def _tell(self, message: Told) -> None:
        self._node.sendall(codec.encode(message) + b"\n")


def _redirect(log: Path) -> None:
    fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(fd, 1)
    os.dup2(fd, 2)
    os.close(fd)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # a file from here on


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m services.node.fork_server")
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--fd", type=int, required=True)
    arguments = parser.parse_args()
    die_with(arguments.parent)
    set_title("hopbench: fork server")
    gc.disable()
    for name in PRELOAD:
        importlib.import_module(name)
    with socket.socket(fileno=arguments.fd) as node:
        ForkServer(node).run()


if __name__ == "__main__":
    main()
