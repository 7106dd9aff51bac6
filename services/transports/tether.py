"""An idle connection to the broker, which ends the moment that the broker does.

aiokafka retries a dead broker for as long as a request may take; whoever waits for an
acknowledgement or a reply would wait with it. The tether tells at once, and costs nothing while
all is well.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any, Final, TypeVar

from services.errors import CannotStart

_RETRY_S: Final = 0.2
_CONNECT_S: Final = 5.0

T = TypeVar("T")


class BrokerLost(Exception):
    """The broker's end of the tether is gone."""


class Tether:
    """Create and use it within one event loop."""

    def __init__(self, address: str) -> None:
        self.address = address
        host, _, port = address.rpartition(":")
        self._host, self._port = host.strip("[]"), int(port)
        self._waiters: set[asyncio.Future[None]] = set()
        self._task: asyncio.Task[None] | None = None
        self.holds = False
        """Whether the broker answered when last heard of."""

    async def start(self) -> None:
        """Raises CannotStart where nothing answers."""
        try:
            async with asyncio.timeout(_CONNECT_S):
                ends = await asyncio.open_connection(self._host, self._port)
        except (OSError, TimeoutError) as error:
            raise CannotStart("kafka", f"no broker at {self.address}: {error}") from error
        self.holds = True
        self._task = asyncio.create_task(self._hold(*ends))

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
        loop = asyncio.get_running_loop()
        while True:
            since = loop.time()
            try:
                # Kafka says nothing unasked, so this ends with the connection: the broker died, or
                # hung up on an idle client. Connecting again tells the two apart.
                await reader.read(1)
            except OSError:
                pass
            finally:
                writer.close()
            if loop.time() - since < _RETRY_S:
                # A proxy whose broker is gone takes every connection and ends it at once.
                await asyncio.sleep(_RETRY_S)
            reader, writer = await self._again()

    async def _again(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while True:
            try:
                async with asyncio.timeout(_CONNECT_S):
                    ends = await asyncio.open_connection(self._host, self._port)
            except (OSError, TimeoutError):
                self._lose()
                await asyncio.sleep(_RETRY_S)
            else:
                self.holds = True
                return ends

    def _lose(self) -> None:
        self.holds = False
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(BrokerLost(self.address))


def _settle(waiter: asyncio.Future[None], _: asyncio.Future[Any]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def _retrieve(future: asyncio.Future[Any]) -> None:
    """Nobody may be left to ask for the outcome, and an unasked exception is logged as a bug."""
    if not future.cancelled():
        future.exception()
