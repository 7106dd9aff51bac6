"""Waiting until a point in time, in a gevent process.

gevent's own sleeps round up to the next millisecond. A ``timerfd`` armed with an absolute time of
CLOCK_MONOTONIC and watched by the hub wakes within a tenth of that (timerfd_create(2);
``os.timerfd_create`` exists from Python 3.13 only, hence ctypes).
"""

from __future__ import annotations

import ctypes
import os
import sys
from time import monotonic_ns
from typing import Final

from gevent.event import Event
from gevent.hub import Hub

_CLOCK_MONOTONIC: Final = 1
_TFD_TIMER_ABSTIME: Final = 1
_READ: Final = 1
_NANO: Final = 1_000_000_000


class _Timespec(ctypes.Structure):
    _fields_ = (("tv_sec", ctypes.c_long), ("tv_nsec", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("it_interval", _Timespec), ("it_value", _Timespec))


class Timer:
    """One waiter at a time. Elsewhere than on Linux it is as good as gevent's own timers."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._fd: int | None = None
        self._woken = Event()
        if sys.platform == "linux":
            self._libc = ctypes.CDLL(None, use_errno=True)
            fd = self._libc.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
            if fd < 0:
                raise OSError(ctypes.get_errno(), "timerfd_create")
            self._fd = fd
            self._watcher = hub.loop.io(fd, _READ)
            self._spec = _Itimerspec()

    def until(self, when_ns: int) -> bool:
        """Wait until the monotonic time ``when_ns``, or until :meth:`wake`.

        False where that time has come already and nothing was waited for.
        """
        left = when_ns - monotonic_ns()
        if left <= 0 or self._woken.is_set():
            return False
        if self._fd is None:
            self._woken.wait(left / _NANO)
        else:
            self._arm(when_ns)
            self._hub.wait(self._watcher)
        return True

    def wake(self) -> None:
        """End the wait, and every later one, at once."""
        self._woken.set()
        if self._fd is not None:
            self._arm(1)

    def close(self) -> None:
        if self._fd is not None:
            self._watcher.close()
            os.close(self._fd)
            self._fd = None

    def _arm(self, when_ns: int) -> None:
        value = self._spec.it_value
        value.tv_sec, value.tv_nsec = divmod(when_ns, _NANO)
        at = ctypes.byref(self._spec)
        if self._libc.timerfd_settime(self._fd, _TFD_TIMER_ABSTIME, at, None) != 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime")
