"""Messages that come a second time: a producer that missed an acknowledgement sends again, and a
partition that changes hands is read again from its last commit."""

from __future__ import annotations

from typing import Final

REMEMBERED: Final = 1 << 16
"""Messages that one process looks back: what comes again comes soon after."""


class Seen:
    """Message ids (transport.py, CORRELATION), the latest ``limit`` of them."""

    def __init__(self, limit: int = REMEMBERED) -> None:
        self._limit = limit
        self._ids: dict[bytes, None] = {}

    def again(self, number: bytes) -> bool:
        """Whether it came before; it has from now on."""
        if number in self._ids:
            return True
        self._ids[number] = None
        if len(self._ids) > self._limit:
            del self._ids[next(iter(self._ids))]
        return False
