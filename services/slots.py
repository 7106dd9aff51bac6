"""Slots: a bound on how many go on at once; the others wait in the order in which they came.

:class:`asyncio.Semaphore` is not that strict, and in some Pythons loses its place when a waiter is
cancelled just as it is woken.
"""

from __future__ import annotations

import asyncio
from asyncio import CancelledError
from collections import deque


class Slots:
    __slots__ = ("_waiting", "free")

    def __init__(self, limit: int) -> None:
        self.free = limit
        """Slots that anyone may take at once; 0 as long as somebody waits."""
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def take(self) -> None:
        """Wait for one; :meth:`give` must follow."""
        if self.free:
            self.free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except CancelledError:
            if not turn.cancelled():
                self.give()  # the slot came together with the cancellation
            raise

    async def __aenter__(self) -> None:
        await self.take()

    async def __aexit__(self, *raised: object) -> None:
        self.give()

    def give(self) -> None:
        """Hand the slot to who waited longest, or put it back."""
        waiting = self._waiting
        while waiting:
            turn = waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.free += 1
