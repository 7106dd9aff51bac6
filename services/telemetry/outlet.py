"""One way out for the telemetry of all services that share a process.

One sender's thread and one connection a signal instead of one for each service, and one timer that
gives the pipelines their turns, a few at a time, so that no request waits for the round of them.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Sequence
from time import monotonic_ns
from typing import TYPE_CHECKING, Final, Protocol

from services.telemetry.pipeline import Pace
from services.telemetry.sender import Sender

if TYPE_CHECKING:
    from services.telemetry.official.telemetry import SharedSpans

PACE: Final = Pace(metrics_s=10.0)
"""Of a pipeline among many: a thousand services would otherwise send 500 times a second."""
_BUDGET_NS: Final = 200_000
"""After so long the loop gets a turn."""
_JOIN_BYTES: Final = 256 * 1024


class Member(Protocol):
    """A pipeline, as the outlet sees it."""

    def step(self, now_s: float) -> bool: ...

    async def hand_over(self) -> None: ...


class Outlet:
    """Make one before its pipelines, and :meth:`start` it with them."""

    def __init__(self, traces: str, metrics: str, *, official: bool) -> None:
        """Endpoints are ``HOST:PORT`` of OTLP/gRPC."""
        self.sender = Sender(traces, metrics, join_bytes=_JOIN_BYTES)
        self.spans: SharedSpans | None = None
        if official:
            module = importlib.import_module("services.telemetry.official.telemetry")
            self.spans = module.SharedSpans(traces)
        self._members: Sequence[Member] = ()
        self._at = 0
        self._left = 0
        """Members that have not had their turn in this round."""
        self._worked = False
        self._timer: asyncio.Handle | None = None

    def start(self, members: Sequence[Member]) -> None:
        self._members = members
        self._next_round(PACE.idle_s)

    async def flush(self, timeout_s: float) -> bool:
        """Derive and send everything that has ended. False where the receiver took too long."""
        self._stop()
        for member in self._members:
            await member.hand_over()
        sent = self.spans is None or await asyncio.to_thread(self.spans.flush, timeout_s)
        return await asyncio.to_thread(self.sender.drain, timeout_s) and sent

    async def close(self) -> None:
        self._stop()
        if self.spans is not None:
            await asyncio.to_thread(self.spans.close)
        await asyncio.to_thread(self.sender.close)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _next_round(self, wait_s: float) -> None:
        self._left = len(self._members)
        self._worked = False
        self._timer = asyncio.get_running_loop().call_later(wait_s, self._turn)

    def _turn(self) -> None:
        loop = asyncio.get_running_loop()
        now_s, until_ns = loop.time(), monotonic_ns() + _BUDGET_NS
        while self._left:
            self._worked |= self._members[self._at].step(now_s)
            self._at = (self._at + 1) % len(self._members)
            self._left -= 1
            if monotonic_ns() > until_ns and self._left:
                self._timer = loop.call_soon(self._turn)
                return
        self._next_round(PACE.busy_s if self._worked else PACE.idle_s)
