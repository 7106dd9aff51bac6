"""Files that are there whole or not at all, and places that cannot be written or read."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO, Final

import orjson

from services.errors import BadInput, CannotStart

_ELSEWHERE: Final = "name another place"
_DENIED: Final = (errno.EACCES, errno.EPERM)
_NAMED: Final = (errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ELOOP, errno.ENAMETOOLONG)
"""The name is of something else than is wanted there."""
_FAILED: Final[Mapping[int, str | None]] = {
    errno.ENOSPC: f"make room there, or {_ELSEWHERE}",
    errno.EDQUOT: f"make room there, or {_ELSEWHERE}",
    errno.EFBIG: "`ulimit -f` is the largest size of a file here",
    errno.EIO: None,
    errno.ESTALE: None,
    errno.EPIPE: None,
}
"""The disk takes no more, or is broken."""


@contextmanager
def whole(path: Path) -> Iterator[BinaryIO]:
    """What the block writes is at ``path`` once it has ended, and not before: a reader, or a crash,
    never meets half of it, nor loses what was there. Raises OSError, with nothing left behind."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            yield file
        temporary.replace(path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename in (None, str(temporary)):
            error.filename = str(path)
        raise


def write_json(path: Path, document: object) -> None:
    with whole(path) as file:
        file.write(orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


def must_take(directory: Path) -> None:
    """Raises OSError where nothing new can be written into ``directory``."""
    try:
        with TemporaryFile(dir=directory):
            pass
    except OSError as error:
        error.filename = str(directory)
        raise


def refusal(error: OSError, instead: str = _ELSEWHERE) -> BadInput | CannotStart | None:
    """What is told of a place that cannot be written or read: BadInput where it is the wrong one,
    with what to do ``instead``, CannotStart where its disk takes no more. None where ``error`` is
    about something else."""
    number, why = error.errno or 0, error.strerror or str(error)
    place = error.filename if isinstance(error.filename, str) else None
    if number in _FAILED:
        return CannotStart(place or "output", f"cannot be written: {why}", hint=_FAILED[number])
    if not number and isinstance(error, PermissionError):
        # As libraries in Rust raise it, with the place in the text.
        return BadInput(why, hint=instead)
    if number == errno.ENOENT and place is None:
        # No directory for temporary files, or the working directory is gone.
        return BadInput(why, hint="TMPDIR names a directory for temporary files")
    if place is None:
        return None
    if number == errno.ENOENT:
        return BadInput(f"cannot be written or read: {why}", place, hint="its directory is gone")
    if number == errno.EROFS:
        hint = f"that file system is read-only: {instead}"
        return BadInput(f"cannot be written: {why}", place, hint=hint)
    if number in _DENIED:
        return _denied(place, why, instead)
    return BadInput(f"cannot be written: {why}", place, hint=instead) if number in _NAMED else None


def _denied(path: str, why: str, instead: str) -> BadInput:
    """Told with what keeps us out, which is ``path`` or a directory that it is in."""
    places = (path, *map(str, Path(path).parents))
    wall = next((at for at in places if not _open_to(at, os.W_OK) and os.path.exists(at)), path)
    doing = "written" if _open_to(wall, 0) else "read"
    hint = f"{instead}, or have it made yours"
    with suppress(OSError):
        found = os.stat(wall)
        mode = stat.filemode(found.st_mode)
        hint = (
            f"{wall} ({mode}) belongs to uid {found.st_uid}, and this is uid {os.geteuid()}: {hint}"
        )
    return BadInput(f"cannot be {doing}: {why}", path, hint=hint)


def _open_to(path: str, mode: int) -> bool:
    """Whether we may read ``path``, enter it where it is a directory, and what ``mode`` asks."""
    return os.access(path, os.R_OK | mode | (os.X_OK if os.path.isdir(path) else 0))
