"""Become the owner of a directory, then a command: ``python -m hopbench.deploy.inside.owner DIR --
COMMAND…``.

The bench's container starts as root with nothing but CAP_SETUID and CAP_SETGID, because only the
mounted directory tells who called ``docker compose up``. What it writes then belongs to the caller.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final, NoReturn

CANNOT_START: Final = 5
"""As hopbench.exits has it, without what it imports: this runs as root, and once."""
BAD_USAGE: Final = 2
NOT_FOUND: Final = 127
"""As of a shell."""


def become(uid: int, gid: int) -> None:
    """Give up every other identity, supplementary groups first: afterwards nobody may.

    Raises PermissionError where this process may not.
    """
    if (os.getuid(), os.getgid()) == (uid, gid):
        return
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)


def run(directory: Path, command: list[str]) -> NoReturn:
    """Replace this process by ``command`` as the owner of ``directory``.

    An owner that this process may not become is tolerated where the directory is writable anyway.
    """
    try:
        owner = directory.stat()
    except OSError as error:
        _refuse(f"{directory}: {error.strerror}", "mount the directory for results there")
    try:
        become(owner.st_uid, owner.st_gid)
    except PermissionError:
        if not os.access(directory, os.W_OK | os.X_OK):
            _refuse(
                f"{directory} belongs to uid {owner.st_uid}, and uid {os.getuid()} may not "
                "become that",
                "start as root with the capabilities SETUID and SETGID",
            )
    try:
        os.execvp(command[0], command)
    except OSError as error:
        print(f"error: {command[0]}: {error.strerror}", file=sys.stderr)
        sys.exit(NOT_FOUND)


def main(arguments: list[str]) -> NoReturn:
    if len(arguments) < 3 or arguments[1] != "--":
        print(
            "usage: python -m hopbench.deploy.inside.owner DIRECTORY -- COMMAND...", file=sys.stderr
        )
        sys.exit(BAD_USAGE)
    run(Path(arguments[0]), arguments[2:])


def _refuse(what: str, hint: str) -> NoReturn:
    print(f"error: {what}\n  hint: {hint}", file=sys.stderr)
    sys.exit(CANNOT_START)


if __name__ == "__main__":
    main(sys.argv[1:])
