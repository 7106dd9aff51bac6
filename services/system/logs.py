"""The ends of logs: what a process said last."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_TAIL_BYTES: Final = 4000
_TAIL_LINES: Final = 20
END_BYTES: Final = 256 * 1024


def tail(log: Path) -> str:
    """The last lines of a log, at most 4 kB; empty where there is none."""
    return "\n".join(end(log, _TAIL_BYTES).splitlines()[-_TAIL_LINES:])


def end(log: Path, size: int = END_BYTES) -> str:
    """At most the last ``size`` bytes, which an answer has room for; empty where there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - size))
            return file.read().decode(errors="replace")
    except OSError:
        return ""
