"""An idle connection to the broker, which ends the moment that the broker does.

aiokafka retries a dead broker for as long as a request may take; whoever waits for an
acknowledgement or a reply would wait with it. The tether tells at once, and costs nothing while
all is well. Where a broker may be started again, it is given some time to come back: whoever waits
then goes on waiting, and the time without it is kept as a gap.
"""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from time import monotonic_ns
from typing import Any, Final, TypeVar

from services.errors import CannotStart
from services.system.death import vital
from services.system.endpoints import endpoint
from services.transports.site import Gap

_RETRY_S: Final = 0.2
_CONNECT_S: Final = 5.0

T = TypeVar("T")


class BrokerLost(Exception):
    """The broker's end of the tether is gone, and did not come back in time."""


class Tether:
    """Create and use it within one event loop. Gaps that it sees are added to ``gaps``."""

    def __init__(self, address: str, away_s: float = 0.0, gaps: list[Gap] | None = None) -> None:
        self.address = address
        self._at = endpoint(address)
        self._away_ns = int(away_s * 1e9)
        self._gaps = [] if gaps is None else gaps
        self._gap: Gap | None = None
        self._heard_ns = 0
        """When a connection was last known to stand."""
        self._waiters: set[asyncio.Future[None]] = set()
        self._task: asyncio.Task[None] | None = None
        self.holds = False
        """Whether the broker answered when last heard of, or may still come back."""

    @property
    def connected(self) -> bool:
        """Whether the broker answered when last heard of."""
        return self.holds and self._gap is None

    async def start(self) -> None:
        """Raises CannotStart where nothing answers."""
        try:
            async with asyncio.timeout(_CONNECT_S):
                ends = await asyncio.open_connection(*self._at)
        except (OSError, TimeoutError) as error:
            raise CannotStart("kafka", f"no broker at {self.address}: {error}") from error
        self.holds = True
        self._heard_ns = monotonic_ns()
        self._task = vital(asyncio.create_task(self._hold(*ends)))

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def outlives(self, future: asyncio.Future[T]) -> T:
        """The result of ``future``, or BrokerLost as soon as the broker is.

        Cancelling this leaves ``future`` alone: what was handed to the broker can't be taken back.
        """
        future.add_done_callback(_retrieve)
        if not self.holds:
            raise BrokerLost(self.address)
        if not future.done():
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.add(waiter)
            future.add_done_callback(partial(_settle, waiter))
            try:
                await waiter
            finally:
                self._waiters.discard(waiter)
        return future.result()

    async def _hold(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            connected_ns = monotonic_ns()
            ended = asyncio.create_task(_end(reader))
            try:
                # A proxy whose broker is gone takes every connection and ends it at once.
                await asyncio.wait((ended,), timeout=_RETRY_S)
                if ended.done():
                    self._missing()
                    await asyncio.sleep(_RETRY_S)
                else:
                    self._back(connected_ns)
                    await ended
                    self._heard_ns = monotonic_ns()
            finally:
                ended.cancel()
                writer.close()
            reader, writer = await self._again()

    async def _again(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Tells a broker that died from one that hung up on an idle client."""
        while True:
            try:
                async with asyncio.timeout(_CONNECT_S):
                    return await asyncio.open_connection(*self._at)
            except (OSError, TimeoutError):
                self._missing()
                await asyncio.sleep(_RETRY_S)

    def _missing(self) -> None:
        if self._gap is None:
            self._gap = Gap(self._heard_ns)
            self._gaps.append(self._gap)
        if monotonic_ns() - self._gap.from_ns >= self._away_ns:
            self._lose()

    def _back(self, at_ns: int) -> None:
        if self._gap is not None:
            self._gap.to_ns = at_ns
            self._gap = None
        self.holds = True

    def _lose(self) -> None:
        self.holds = False
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(BrokerLost(self.address))


async def _end(reader: asyncio.StreamReader) -> None:
    """Kafka says nothing unasked, so this ends with the connection."""
    with contextlib.suppress(OSError):
        await reader.read(1)


def _settle(waiter: asyncio.Future[None], _: asyncio.Future[Any]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def _retrieve(future: asyncio.Future[Any]) -> None:
    """Nobody may be left to ask for the outcome, and an unasked exception is logged as a bug."""
    if not future.cancelled():
        future.exception()
