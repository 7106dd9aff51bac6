"""An absolute timer that a loop can watch: Linux's timerfd, also where Python has no name for it.

asyncio and uvloop round their timers to milliseconds; a timerfd does not (docs: MEASUREMENT, fact
3). ``os.timerfd_create`` exists from Python 3.13; before, the C library is asked directly.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Final

_CLOCK_MONOTONIC: Final = 1
_TFD_TIMER_ABSTIME: Final = 1
_FLAGS: Final = os.O_NONBLOCK | os.O_CLOEXEC
"""TFD_NONBLOCK and TFD_CLOEXEC are defined as these (include/linux/timerfd.h)."""


class _Timespec(ctypes.Structure):
    _fields_ = (("tv_sec", ctypes.c_long), ("tv_nsec", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("it_interval", _Timespec), ("it_value", _Timespec))


class AbsoluteTimer:
    """``fd`` becomes readable when the monotonic clock reaches the time that was set."""

    __slots__ = ("_set", "fd")

    def __init__(self, fd: int, set_ns: Callable[[int], None]) -> None:
        self.fd = fd
        self._set = set_ns

    def set(self, when_ns: int) -> None:
        """Replace what was set. A time that has passed makes it readable at once."""
        # 0 would disarm the timer instead.
        self._set(max(1, when_ns))

    def acknowledge(self) -> None:
        """Make it unreadable again, until the next time set."""
        with suppress(BlockingIOError):
            os.read(self.fd, 8)

    def close(self) -> None:
        os.close(self.fd)


def absolute_timer() -> AbsoluteTimer | None:
    """A new timer, or None where the platform has none. Raises OSError where it is refused."""
    if sys.platform != "linux":
        return None
    if sys.version_info >= (3, 13):
        fd = os.timerfd_create(_CLOCK_MONOTONIC, flags=_FLAGS)

        def set_ns(when_ns: int) -> None:
            os.timerfd_settime_ns(fd, flags=_TFD_TIMER_ABSTIME, initial=when_ns)

        return AbsoluteTimer(fd, set_ns)
    return timer_of_libc()


def timer_of_libc() -> AbsoluteTimer:
    """The same timer for Pythons before 3.13. Raises OSError where it is refused."""
    libc = ctypes.CDLL(None, use_errno=True)
    settime = libc.timerfd_settime
    settime.argtypes = (
        ctypes.c_int,
        ctypes.c_int,
        ctypes.POINTER(_Itimerspec),
        ctypes.c_void_p,
    )
    fd = libc.timerfd_create(_CLOCK_MONOTONIC, _FLAGS)
    if fd < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    spec = _Itimerspec()
    value, pointer = spec.it_value, ctypes.byref(spec)

    def set_ns(when_ns: int) -> None:
        value.tv_sec, value.tv_nsec = divmod(when_ns, 1_000_000_000)
        if settime(fd, _TFD_TIMER_ABSTIME, pointer, None) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))

    return AbsoluteTimer(fd, set_ns)
