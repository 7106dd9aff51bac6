"""The control calls to a node (docs/architecture.md), whoever started it."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
from aiohttp import ClientError, ClientSession, ClientTimeout

from hopbench.engines.port import ProcessReport
from services.errors import CannotStart
from services.node.server import STOP_SLACK_S
from services.wire.ports import Directory

CALL_BOUND_S: Final = 60.0
"""The node has bounds of its own, all shorter; this one is for a node that hangs."""


@dataclass(frozen=True, slots=True)
class Last:
    """What a node says when it has ended a round's processes."""

    reports: tuple[ProcessReport, ...] = ()
    logs: Mapping[str, str] = field(default_factory=dict)
    """The end of each process's log by name, where the node has kept them to itself."""


class NodeControl(ABC):
    """An HTTP session to a node. Every call raises CannotStart where it fails or gets no answer."""

    def __init__(self, session: ClientSession) -> None:
        self._session = session

    async def start(self, job: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Start the processes of a round; ``{service, replica, pid, host, http_port, grpc_port}``
        of each. Raises CannotStart for one that does not come up."""
        answer = await self._call("POST", "/start", job)
        processes: list[dict[str, Any]] = answer["processes"]
        return processes

    async def connect(self, directory: Directory) -> None:
        await self._call("POST", "/connect", {"directory": directory})

    async def begin(self, start_ns: int, measured_from_ns: int, clock: str = "monotonic") -> None:
        """Both times by ``clock``: ``monotonic`` of the node's host, or ``unix``."""
        times = {"start_ns": start_ns, "measured_from_ns": measured_from_ns, "clock": clock}
        await self._call("POST", "/begin", times)

    async def counters(self) -> tuple[ProcessReport, ...]:
        """Of every process that lives."""
        return _reports(await self._call("GET", "/counters"))

    async def stop(self, grace_ns: int) -> Last:
        """End the round's processes; the last reports of those that still could give one."""
        bound_s = grace_ns / 1e9 + STOP_SLACK_S + 5.0
        answer = await self._call("POST", "/stop", {"grace_ns": grace_ns}, bound_s)
        return Last(_reports(answer), answer.get("logs") or {})

    @abstractmethod
    async def died(self) -> str:
        """Wait for the first death, of a service process or of the node itself, and tell how."""

    @abstractmethod
    async def gone(self, path: str, error: ClientError | TimeoutError) -> CannotStart:
        """Why a call to ``path`` failed with ``error``."""

    async def close(self) -> None:
        await self._session.close()

    def _log(self) -> str:
        """The end of the node's own log, where it can be seen."""
        return ""

    async def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        bound_s: float | None = CALL_BOUND_S,
    ) -> dict[str, Any]:
        try:
            async with self._session.request(
                method,
                path,
                data=None if body is None else orjson.dumps(body),
                timeout=ClientTimeout(total=bound_s),
            ) as response:
                said = await response.read()
        except (ClientError, TimeoutError) as error:
            raise await self.gone(path, error) from error
        try:
            answer: dict[str, Any] = orjson.loads(said)
        except orjson.JSONDecodeError:
            text = f"failed at {path} (HTTP {response.status})"
            raise CannotStart("node", text, self._log()) from None
        if response.status != 200:
            raise CannotStart(
                answer.get("part", "node"),
                answer["text"],
                answer.get("log", ""),
                answer.get("hint"),
            )
        return answer


def told(deaths: list[dict[str, Any]]) -> str:
    """What ``GET /deaths`` has answered, for people."""
    return "\n".join(
        f"{death['part']} {death['text']}"
        + (f"; its log ends:\n{death['log']}" if death["log"] else "")
        for death in deaths
    )


async def first(*waits: asyncio.Task[str]) -> str:
    """The result of whichever ends first; the others are cancelled."""
    try:
        done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waits:
            task.cancel()
    return next(iter(done)).result()


def _reports(answer: Mapping[str, Any]) -> tuple[ProcessReport, ...]:
    return tuple(
        ProcessReport(
            **{**report, "doubts": tuple((code, text) for code, text in report["doubts"])}
        )
        for report in answer["processes"]
    )
