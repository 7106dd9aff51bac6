"""A disk that takes no more: not a bug, and not the user's input."""

from __future__ import annotations

import errno
from typing import Final

REFUSALS: Final = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.ESTALE}
)


def refused(error: OSError) -> bool:
    """Whether the disk is the reason: full, a quota, a size limit, broken, gone."""
    return error.errno in REFUSALS


def told(error: OSError) -> str:
    """``cannot write run/summary.json: No space left on device``, for people."""
    what = f" {error.filename}" if error.filename else ""
    return f"cannot write{what}: {error.strerror or error}"
