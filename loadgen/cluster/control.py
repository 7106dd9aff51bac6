"""The generator's end of the line of control (loadgen/messages.py).

When the bench is gone the connection reads end-of-file, and the generator leaves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, BinaryIO

import gevent
from gevent import socket
from gevent.event import AsyncResult

from loadgen.messages import Ordered, Said, Start, Stop
from services import codec

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

    def send(self, said: Said) -> None:
        """Tell the bench; a bench that is gone is told nothing."""
        try:
            with gevent.Timeout(_SEND_S, False):
                self._socket.sendall(codec.encode(said) + b"\n")
        except OSError:
            return

    def close(self) -> None:
        self._reader.kill(block=False)
        self._socket.close()

    def _read(self) -> None:
        try:
            with self._lines as lines:
                for line in lines:
                    order: Ordered = codec.decode(Ordered, line)
                    if isinstance(order, Stop):
                        break
                    self._start.set(order)
        except (OSError, codec.Unfit):
            pass  # gone, as at end-of-file, or no bench
        self._on_stop()
