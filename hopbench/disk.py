"""Files that are there whole or not at all, and a disk that takes no more."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

import orjson

REFUSALS: Final = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.ESTALE}
)


@contextmanager
def whole(path: Path) -> Iterator[BinaryIO]:
    """What the block writes is at ``path`` once it has ended, and not before: a reader, or a crash,
    never meets half of it, nor loses what was there. Raises OSError, with nothing left behind."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            yield file
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_json(path: Path, document: object) -> None:
    with whole(path) as file:
        file.write(orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


def refused(error: OSError) -> bool:
    """Whether the disk is the reason: full, a quota, a size limit, broken, gone."""
    return error.errno in REFUSALS


def told(error: OSError) -> str:
    """``cannot write run/summary.json: No space left on device``, for people."""
    what = f" {error.filename}" if error.filename else ""
    return f"cannot write{what}: {error.strerror or error}"
