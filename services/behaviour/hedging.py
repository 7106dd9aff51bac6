"""Hedges: a second attempt beside the first, and how long to wait before it is made."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from math import ceil
from typing import Any, Final

from services.behaviour.replica import current_task
from services.wire.ports import Reply, Status

_OK: Final = Status.OK
_REMEMBERED: Final = 256
_IDENTIFIABLE: Final = 72
_REFRESH: Final = 24


class Hedge:
    """A second attempt beside the one that the current task makes.

    When the second attempt has a good answer first, it cancels the current task, counting as
    :class:`Alarm` does.
    """

    __slots__ = ("_before", "_begin", "_task", "_won", "closed", "second")

    def __init__(self, begin: Callable[[], Coroutine[Any, Any, Reply]]) -> None:
        self._begin = begin
        self._task = current_task()
        self._before = self._task.cancelling()
        self._won = False
        self.closed = False
        """The first attempt has ended; the second must not interrupt any more."""
        self.second: asyncio.Task[Reply] | None = None

    def launch(self) -> None:
        if not self.closed:
            self.second = asyncio.get_running_loop().create_task(self._begin())
            self.second.add_done_callback(self._ended)

    def _ended(self, second: asyncio.Task[Reply]) -> None:
        if self.closed or second.cancelled() or second.exception() is not None:
            return
        if second.result().status is _OK:
            self._won = True
            self._task.cancel()

    def has_won(self) -> bool:
        """Whether the cancellation under way is the hedge's alone; takes its part of it back."""
        self.closed = True
        if not self._won:
            return False
        self._won = False
        return self._task.uncancel() <= self._before

    async def end(self) -> None:
        """Cancel the second attempt where it is still under way, and see it end."""
        self.has_won()  # a transport may have answered all the same
        second = self.second
        if second is None:
            return
        if not second.done():
            second.cancel()
            await asyncio.wait((second,))
        if not second.cancelled():
            second.exception()  # seen, or asyncio would complain that nobody looked


class Latencies:
    """What an edge took of late, for hedges that wait for its P95.

    Nothing is known before 72 calls: fewer do not identify a P95 (docs: MEASUREMENT, n >= ln 0.025
    / ln p). Attempts that a hedge overtook count with the time they had until then.
    """

    __slots__ = ("_at", "_recent", "p95_ns")

    def __init__(self) -> None:
        self._recent: list[int] = []
        self._at = 0
        self.p95_ns: int | None = None

    def add(self, ns: int) -> None:
        recent = self._recent
        if len(recent) < _REMEMBERED:
            recent.append(ns)
        else:
            recent[self._at % _REMEMBERED] = ns
        self._at += 1
        if self._at >= _IDENTIFIABLE and self._at % _REFRESH == 0:
            ordered = sorted(recent)
            self.p95_ns = ordered[ceil(0.95 * len(ordered)) - 1]
