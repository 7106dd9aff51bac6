"""The generator's end of the control socket: JSON lines, as docs/architecture.md says.

Generator → bench: ``{"ready": true}``, ``{"progress": sent, "done": ended}``,
``{"finished": {…loadgen.generator.Counts}}``, and ``{"broken": why}`` when it cannot start or go
on. Bench → generator: ``{"start_ns": …}``, ``{"stop": true}``. When the bench is gone the socket
reads end-of-file, and the generator leaves.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

import gevent
from gevent import socket
from gevent.event import AsyncResult

from loadgen.cluster.dealing import Start

_SEND_S = 2.0
"""A bench that does not read for so long is as good as gone; nothing waits for it."""


class Control:
    """``on_stop`` runs once, in a greenlet of its own, when the bench says stop or is gone."""

    def __init__(
        self, connection: Any, on_stop: Callable[[], None], lines: BinaryIO | None = None
    ) -> None:
        """``connection`` is a socket of gevent's; ``lines``, a reader that was begun on it."""
        self._socket = connection
        self._socket.settimeout(None)
        self._start: AsyncResult = AsyncResult()
        self._on_stop = on_stop
        self._lines: BinaryIO = connection.makefile("rb") if lines is None else lines
        self._reader = gevent.spawn(self._read)

    @classmethod
    def inherited(cls, fd: int, on_stop: Callable[[], None]) -> Control:
        """Over a descriptor that the bench has left open for us."""
        return cls(socket.socket(fileno=fd), on_stop)

    def start(self) -> Start | None:
        """Wait for the bench to name the schedule's zero; None once :meth:`abandon` was called."""
        answer: Start | None = self._start.get()
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
            with self._lines as lines:
                for line in lines:
                    message = json.loads(line)
                    if not isinstance(message, dict):
                        break
                    if (start := Start.read(message)) is not None:
                        self._start.set(start)
                    if message.get("stop"):
                        break
        except (OSError, ValueError, TypeError):
            pass  # gone, as at end-of-file, or no bench
        self._on_stop()
