"""What a process is called in ``ps``."""

from __future__ import annotations

from setproctitle import setproctitle, setthreadtitle


def set_title(title: str) -> None:
    """Show ``title`` as this process's command line.

    Its last part after ``: `` becomes the short name that ``ps -o comm`` and ``top`` show, 15
    bytes of it.
    """
    setproctitle(title)
    setthreadtitle(title.rpartition(": ")[2])
