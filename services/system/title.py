"""What a process is called in ``ps``.

The kernel shows a process's arguments from its own memory, between the two addresses that
/proc/self/stat names (proc(5), fields 48 and 49); writing there renames it, as setproctitle does.
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

_PR_SET_NAME = 15
_ARG_START, _ARG_END = 48 - 3, 49 - 3
"""Fields counted from the one after the command's closing parenthesis, which is the third."""


def set_title(title: str) -> None:
    """Show ``title`` as this process's command line, cut to the length of the original one.

    Its last part after ``: `` becomes the short name that ``ps -o comm`` and ``top`` show, 15
    bytes of it. Does nothing elsewhere than on Linux.
    """
    if sys.platform != "linux":
        return
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    start, end = int(fields[_ARG_START]), int(fields[_ARG_END])
    if start and end > start + 1:
        room = end - start
        ctypes.memmove(start, title.encode()[: room - 1].ljust(room, b"\0"), room)
    name = title.rpartition(": ")[2].encode()[:15]
    ctypes.CDLL(None).prctl(_PR_SET_NAME, name, 0, 0, 0)
