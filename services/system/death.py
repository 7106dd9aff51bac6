"""No process of ours outlives the one that started it.

Two lines of defence. The kernel sends SIGKILL when the parent dies (``PR_SET_PDEATHSIG``, Linux);
and every process holds one end of a pipe or socket whose other end only its parent has, and leaves
when that reads end-of-file. The first acts even when the process is stuck, the second works
everywhere and covers a parent that closes the pipe on purpose.

Hazards of the first, from prctl(2): the setting is not inherited by a fork, so every process asks
for itself; a parent that died before the call is never reported, hence the check afterwards; and
the "parent" is the *thread* that forked, so processes are started from main threads only.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
import traceback
from typing import Any

_PR_SET_PDEATHSIG = 1
ORPHANED = 113
"""Exit status of a process that found its parent gone."""
BUG = 70
"""Of one that ended of an error that nobody foresaw; its log has the traceback."""


def die_with(parent: int, signum: int = signal.SIGKILL) -> None:
    """Let the kernel send ``signum`` to this process when ``parent``, its parent's pid, dies.

    Ends the process at once where the parent is dead already. Elsewhere than on Linux only that
    check is made.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, int(signum), 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        os._exit(ORPHANED)


def vital(task: asyncio.Task[Any]) -> asyncio.Task[Any]:
    """Let an error of ``task`` end this process, with the traceback in its log.

    For what goes on beside everything else and nobody waits for: without it, a process would only
    look alive. That it is cancelled, or comes to its own end, is no error.
    """
    task.add_done_callback(_died)
    return task


def _died(task: asyncio.Task[Any]) -> None:
    if task.cancelling():
        return
    try:
        task.result()
    except BaseException:  # the last frame of this process: it reports and leaves
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(BUG)


def stop_asked(parent: int | None) -> asyncio.Event:
    """Set by SIGINT and SIGTERM; create it in the running loop of a process that serves until then.

    With a ``parent`` standard input is a pipe from it: at its end-of-file the process leaves.
    """
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asked.set)
    if parent is not None:
        leave_at_eof(loop, sys.stdin.fileno())
    return asked


def leave_at_eof(loop: asyncio.AbstractEventLoop, fd: int) -> None:
    """End this process at once when ``fd``, a pipe from its parent, reads end-of-file.

    What arrives on the pipe before that is thrown away.
    """
    os.set_blocking(fd, False)

    def read() -> None:
        try:
            gone = not os.read(fd, 4096)
        except BlockingIOError:
            return
        except OSError:
            gone = True
        if gone:
            os._exit(ORPHANED)

    loop.add_reader(fd, read)
