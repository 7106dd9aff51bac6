"""How well a process keeps time: its loop's lag, its garbage collector's pauses, its CPU time."""

from __future__ import annotations

import asyncio
import gc
import resource
from time import monotonic_ns, process_time_ns
from typing import Any

from services.clocks.bias import Bias

BEAT_NS = 5_000_000


class Heartbeat:
    """Wakes every 5 ms by the loop's own timer; lag is how late it woke.

    The timer rounds to milliseconds, so a calm loop shows lags below one. A blocked loop shows as
    one long beat, as a request that came at a random time would see it.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._late = Bias()
        self._latest_ns = 0
        self._handle: asyncio.TimerHandle | None = None
        self._due_ns = 0

    def start(self) -> None:
        self._late = Bias()
        self._latest_ns = 0
        if self._handle is None:
            self._next()

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def lag_ns(self) -> dict[str, float]:
        """``p50``, ``p99``, ``max`` and ``n`` of the beats so far."""
        return {**self._late.summary(), "max": self._latest_ns}

    def _next(self) -> None:
        self._due_ns = monotonic_ns() + BEAT_NS
        self._handle = self._loop.call_later(BEAT_NS / 1e9, self._beat)

    def _beat(self) -> None:
        late_ns = max(0, monotonic_ns() - self._due_ns)
        self._late.add(late_ns)
        self._latest_ns = max(self._latest_ns, late_ns)
        self._next()


class Pauses:
    """Time spent in the garbage collector, by its own callbacks."""

    def __init__(self) -> None:
        self.count = 0
        self.total_ns = 0
        self.max_ns = 0
        self._since_ns = 0

    def watch(self) -> None:
        gc.callbacks.append(self._called)

    def restart(self) -> None:
        self.count = self.total_ns = self.max_ns = 0

    def report(self) -> dict[str, float]:
        return {"count": self.count, "total_ns": self.total_ns, "max_ns": self.max_ns}

    def _called(self, phase: str, _info: dict[str, Any]) -> None:
        if phase == "start":
            self._since_ns = monotonic_ns()
            return
        took = monotonic_ns() - self._since_ns
        self.count += 1
        self.total_ns += took
        self.max_ns = max(self.max_ns, took)


def cpu_ns() -> int:
    """CPU time of this process, all threads, and of its children that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return process_time_ns() + int((children.ru_utime + children.ru_stime) * 1e9)
