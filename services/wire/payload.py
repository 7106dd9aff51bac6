"""Bodies of an asked size. What they hold does not matter, so they are zeros."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

BLOCK: Final = memoryview(bytes(256 * 1024))
"""One buffer that large bodies are written from, block by block."""
_CACHED_BYTES: Final = 64 * 1024


@lru_cache(maxsize=256)
def _cached(size: int) -> bytes:
    return bytes(size)


def payload(size: int) -> bytes:
    """``size`` bytes. Small ones are kept: together never more than 16 MiB."""
    return _cached(size) if size <= _CACHED_BYTES else bytes(size)
