"""Spools read while they are written, to be sent elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

CHUNK_BYTES: Final = 128 * 1024
"""Some 1,500 records."""
PATTERN: Final = "samples*.spool"


class Follower:
    """What is new in the spools of a directory, also in those that appear later."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._read: dict[str, int] = {}

    def news(self, chunks: int | None = None) -> Iterator[tuple[str, bytes]]:
        """Name of a spool and its next bytes, at most :data:`CHUNK_BYTES`; so many ``chunks`` at
        most, or all there are."""
        left = -1 if chunks is None else chunks
        for path in sorted(self._directory.glob(PATTERN)):
            at = self._read.get(path.name, 0)
            with path.open("rb") as file:
                file.seek(at)
                while left and (data := file.read(CHUNK_BYTES)):
                    at += len(data)
                    left -= 1
                    self._read[path.name] = at
                    yield path.name, data
