"""The generator's end of the control socket: JSON lines, as docs/architecture.md says.

Generator → bench: ``{"ready": true}``, ``{"progress": sent, "done": ended}``,
``{"finished": {…loadgen.generator.Counts}}``, and ``{"broken": why}`` when it cannot start or go
on. Bench → generator: ``{"start_ns": …}``, ``{"stop": true}``. When the bench is gone the socket
reads end-of-file, and the generator leaves.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

import gevent
from gevent import socket
from gevent.event import AsyncResult

_SEND_S = 2.0
"""A bench that does not read for so long is as good as gone; nothing waits for it."""


class Control:
    """``on_stop`` runs once, in a greenlet of its own, when the bench says stop or is gone."""

    def __init__(self, fd: int, on_stop: Callable[[], None]) -> None:
        self._socket = socket.socket(fileno=fd)
        self._socket.settimeout(None)
        self._start: AsyncResult = AsyncResult()
        self._on_stop = on_stop
        self._reader = gevent.spawn(self._read)

    def start_ns(self) -> int | None:
        """Wait for the bench to name the schedule's zero; None once :meth:`abandon` was called."""
        answer: int | None = self._start.get()
        return answer

    def abandon(self) -> None:
        """Wait no longer for a start."""
        if not self._start.ready():
            self._start.set(None)

    def send(self, message: Mapping[str, object]) -> None:
        """Tell the bench; a bench that is gone is told nothing."""
        try:
            with gevent.Timeout(_SEND_S, False):
                self._socket.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            return

    def close(self) -> None:
        self._reader.kill(block=False)
        self._socket.close()

    def _read(self) -> None:
        try:
            with self._socket.makefile("rb") as lines:
                for line in lines:
                    message = json.loads(line)
                    if "start_ns" in message:
                        self._start.set(int(message["start_ns"]))
                    if message.get("stop"):
                        break
        except ConnectionError:
            pass  # gone, as at end-of-file
        self._on_stop()
