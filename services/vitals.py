"""How well a process keeps time: its loop's lag, its garbage collector's pauses, its CPU time."""

from __future__ import annotations

import asyncio
import gc
import resource
from array import array
from collections.abc import Sequence
from math import ceil
from time import monotonic_ns, process_time_ns
from typing import Any

BEAT_NS = 5_000_000


class Heartbeat:
    """Wakes every 5 ms by the loop's own timer; lag is how late it woke.

    The timer rounds to milliseconds, so a calm loop shows lags below one. A blocked loop shows as one long beat, as a request that came at a random time would see it.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._late = array("q")
        self._handle: asyncio.TimerHandle | None = None
        self._due_ns = 0

    def start(self) -> None:
        self._late = array("q")
        if self._handle is None:
            self._next()

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def lag_ns(self) -> dict[str, float]:
        """``p50``, ``p99``, ``max`` and ``n`` of the beats so far."""
        return {**quantiles(self._late, 0.5, 0.99), "max": float(max(self._late, default=0))}

    def _next(self) -> None:
        self._due_ns = monotonic_ns() + BEAT_NS
        self._handle = self._loop.call_later(BEAT_NS / 1e9, self._beat)

    def _beat(self) -> None:
        self._late.append(max(0, monotonic_ns() - self._due_ns))
        self._next()


def quantiles(values: Sequence[int], *wanted: float) -> dict[str, float]:
    """Nearest-rank quantiles named ``p50``, ``p99``…, and ``n``; zeros where there is no value."""
    ordered = sorted(values)
    n = len(ordered)
    found = {f"p{q * 100:g}": float(ordered[min(n - 1, int(q * n))]) if n else 0.0 for q in wanted}
    return {**found, "n": float(n)}


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
