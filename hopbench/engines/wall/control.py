"""The control calls to a node (services/node/messages.py), whoever started it."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import Final, TypeVar

from aiohttp import ClientError, ClientSession, ClientTimeout

from services import codec
from services.errors import CannotStart
from services.node.messages import STOP_SLACK_S, Deaths, Last, Refusal, Running, Started
from services.process.job import Job
from services.process.orders import Begin, Connect, Stop
from services.report import ProcessReport
from services.wire.ports import Directory

T = TypeVar("T")

CALL_BOUND_S: Final = 60.0
"""The node has bounds of its own, all shorter; this one is for a node that hangs."""


class NodeControl(ABC):
    """An HTTP session to a node. Every call raises CannotStart where it fails or gets no answer."""

    def __init__(self, session: ClientSession) -> None:
        self._session = session

    async def start(self, job: Job) -> tuple[Running, ...]:
        """Start the processes of a round. Raises CannotStart for one that does not come up."""
        return (await self._call("POST", "/start", Started, job)).replicas

    async def connect(self, directory: Directory) -> None:
        await self._call("POST", "/connect", dict, Connect(directory))

    async def begin(self, begin: Begin) -> None:
        await self._call("POST", "/begin", dict, begin)

    async def counters(self) -> tuple[ProcessReport, ...]:
        """Of every process that lives."""
        return (await self._call("GET", "/counters", Last)).reports

    async def stop(self, grace_ns: int) -> Last:
        """End the round's processes; the last reports of those that still could give one."""
        bound_s = grace_ns / 1e9 + STOP_SLACK_S + 5.0
        return await self._call("POST", "/stop", Last, Stop(grace_ns), bound_s)

    @abstractmethod
    async def died(self) -> str:
        """Wait for the first death, of a service process or of the node itself, and tell how."""

    @abstractmethod
    async def gone(self, path: str, error: ClientError | TimeoutError) -> CannotStart:
        """Why a call to ``path`` failed with ``error``."""

    async def close(self) -> None:
        await self._session.close()

    async def _deaths(self, path: str, bound_s: float | None) -> Deaths:
        return await self._call("GET", path, Deaths, bound_s=bound_s)

    def _log(self) -> str:
        """The end of the node's own log, where it can be seen."""
        return ""

    async def _call(
        self,
        method: str,
        path: str,
        kind: type[T],
        body: object = None,
        bound_s: float | None = CALL_BOUND_S,
    ) -> T:
        try:
            async with self._session.request(
                method,
                path,
                data=None if body is None else codec.encode(body),
                timeout=ClientTimeout(total=bound_s),
            ) as response:
                said = await response.read()
        except (ClientError, TimeoutError) as error:
            raise await self.gone(path, error) from error
        try:
            if response.status == 200:
                return codec.decode(kind, said)
            refusal = codec.decode(Refusal, said)
        except codec.Unfit:
            text = f"failed at {path} (HTTP {response.status})"
            raise CannotStart("node", text, self._log()) from None
        raise refusal.error()


async def first(*waits: asyncio.Task[str]) -> str:
    """The result of whichever ends first; the others are cancelled."""
    try:
        done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waits:
            task.cancel()
    return next(iter(done)).result()
