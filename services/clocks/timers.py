"""Timers in order of time: a heap that drops cancelled entries lazily.

Nearly every timer is a deadline that is cancelled long before it is due, so cancelling must cost
nothing; entries are swept when most of the heap is dead (as asyncio does).
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context, copy_context
from heapq import heapify, heappop, heappush
from typing import Any, Final

_SWEEP_AT_LEAST: Final = 128


class Timer:
    """One callback to come; also a ``TimerHandle`` as far as asyncio asks."""

    __slots__ = ("_args", "_callback", "_context", "_timers", "when_ns")

    def __init__(
        self,
        when_ns: int,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        context: Context | None,
        timers: Timers | None = None,
    ) -> None:
        self.when_ns = when_ns
        self._callback: Callable[..., object] | None = callback
        self._args = args
        self._context = context if context is not None else copy_context()
        self._timers = timers

    def cancel(self) -> None:
        if self._callback is not None:
            self._callback = None
            self._args = ()
            if self._timers is not None:
                self._timers.cancelled += 1

    def leave(self) -> None:
        """The heap no longer holds this timer, and need not know of its end."""
        self._timers = None

    def cancelled(self) -> bool:
        return self._callback is None

    def when(self) -> float:
        """Seconds, as asyncio's handles have it."""
        return self.when_ns / 1e9

    def run(self) -> None:
        """Run the callback once; a timer that ran counts as neither pending nor cancelled."""
        callback = self._callback
        if callback is not None:
            self._callback = None
            self._context.run(callback, *self._args)


class Timers:
    """Not safe between threads. Equal times run in the order in which they were set."""

    __slots__ = ("_heap", "_seq", "cancelled")

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Timer]] = []
        self._seq = 0
        self.cancelled = 0
        """Dead entries still in the heap; kept up by the timers themselves."""

    def __len__(self) -> int:
        return len(self._heap) - self.cancelled

    def at(
        self,
        when_ns: int,
        callback: Callable[..., object],
        args: tuple[Any, ...] = (),
        context: Context | None = None,
    ) -> Timer:
        if self.cancelled > _SWEEP_AT_LEAST and self.cancelled * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if not entry[2].cancelled()]
            heapify(self._heap)
            self.cancelled = 0
        timer = Timer(when_ns, callback, args, context, self)
        self._seq += 1
        heappush(self._heap, (when_ns, self._seq, timer))
        return timer

    def next_ns(self) -> int | None:
        """When the next live timer is due; None where there is none."""
        heap = self._heap
        while heap and heap[0][2].cancelled():
            heappop(heap)
            self.cancelled -= 1
        return heap[0][0] if heap else None

    def due(self, now_ns: int) -> list[Timer]:
        """Remove and return those due at ``now_ns``, in order."""
        heap = self._heap
        found: list[Timer] = []
        while heap and heap[0][0] <= now_ns:
            timer = heappop(heap)[2]
            if timer.cancelled():
                self.cancelled -= 1
            else:
                timer.leave()
                found.append(timer)
        return found
