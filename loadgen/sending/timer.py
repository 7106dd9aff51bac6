"""Waiting until a point in time, in a gevent process.

gevent's own sleeps round up to the next millisecond; an absolute timer watched by the hub wakes
within a tenth of that.
"""

from __future__ import annotations

from time import monotonic_ns
from typing import Final

from gevent.event import Event
from gevent.hub import Hub

from services.clocks.timerfd import absolute_timer

_READ: Final = 1
_NANO: Final = 1_000_000_000


class Timer:
    """One waiter at a time. Without timerfd it is as good as gevent's own timers."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._woken = Event()
        self._sooner = Event()
        self._absolute = absolute_timer()
        if self._absolute is not None:
            self._watcher = hub.loop.io(self._absolute.fd, _READ)

    def until(self, when_ns: int) -> bool:
        """Wait until the monotonic time ``when_ns``, or until :meth:`wake`.

        False where that time has come already and nothing was waited for.
        """
        left = when_ns - monotonic_ns()
        if left <= 0 or self._woken.is_set():
            return False
        if self._absolute is None:
            self._sooner.clear()
            self._sooner.wait(left / _NANO)
        else:
            # Setting it anew makes it unreadable; what woke the last wait need not be read.
            self._absolute.set(when_ns)
            self._hub.wait(self._watcher)
        return True

    def wake(self) -> None:
        """End the wait, and every later one, at once."""
        self._woken.set()
        self.hurry()

    def hurry(self) -> None:
        """End the wait at once."""
        if self._absolute is None:
            self._sooner.set()
        else:
            self._absolute.set(1)

    def close(self) -> None:
        if self._absolute is not None:
            self._watcher.close()
            self._absolute.close()
            self._absolute = None
