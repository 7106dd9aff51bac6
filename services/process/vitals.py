"""How well a process keeps time: its loop's lag, its garbage collector's pauses, its CPU time."""

from __future__ import annotations

import asyncio
import gc
import resource
from dataclasses import dataclass
from time import monotonic_ns, process_time_ns
from typing import Any

from services.clocks.bias import Bias
from services.doubts import Doubt
from services.report import Collections, Spread

BEAT_NS = 20_000_000


@dataclass(frozen=True, slots=True)
class Vitals:
    """Of one process, as a report has them."""

    cpu_ns: int
    sleep_bias_ns: Spread
    cpu_bias_ns: Spread
    loop_lag_ns: Spread
    collections: Collections
    doubts: tuple[Doubt, ...]


class Heartbeat:
    """Wakes every BEAT_NS by the loop's own timer; lag is how late it woke.

    The timer rounds to milliseconds, so a calm loop shows lags below one. A blocked loop shows as
    one long beat, as a request that came at a random time would see it.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._late = Bias()
        self._handle: asyncio.TimerHandle | None = None
        self._due_ns = 0

    def start(self) -> None:
        self._late = Bias()
        if self._handle is None:
            self._next()

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def lag_ns(self) -> Spread:
        """Of the beats so far."""
        return self._late.spread()

    def _next(self) -> None:
        self._due_ns = monotonic_ns() + BEAT_NS
        self._handle = self._loop.call_later(BEAT_NS / 1e9, self._beat)

    def _beat(self) -> None:
        self._late.add(max(0, monotonic_ns() - self._due_ns))
        self._next()


class Pauses:
    """Time spent in the garbage collector, by its own callbacks."""

    def __init__(self) -> None:
        self._so_far = Collections()
        self._since_ns = 0

    def watch(self) -> None:
        gc.callbacks.append(self._called)

    def restart(self) -> None:
        self._so_far = Collections()

    def report(self) -> Collections:
        return self._so_far

    def _called(self, phase: str, _info: dict[str, Any]) -> None:
        if phase == "start":
            self._since_ns = monotonic_ns()
            return
        took, before = monotonic_ns() - self._since_ns, self._so_far
        self._so_far = Collections(
            before.count + 1, before.total_ns + took, max(before.max_ns, took)
        )


def cpu_ns() -> int:
    """CPU time of this process, all threads, and of its children that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return process_time_ns() + int((children.ru_utime + children.ru_stime) * 1e9)
