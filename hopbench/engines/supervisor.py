"""The bench's side of a node: its process, and the control calls (docs/architecture.md)."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
from aiohttp import ClientError, ClientSession, ClientTimeout

from hopbench.engines.port import ProcessReport, Settings
from hopbench.parts import Part, start_part
from services.errors import CannotStart
from services.forks import ending, tail
from services.node import STOP_SLACK_S, TOKEN_HEADER, TOKEN_VARIABLE
from services.ports import Address, Directory
from services.scenario.model import Scenario

_CALL_BOUND_S = 60.0
"""The node has bounds of its own, all shorter; this one is for a node that hangs."""
_END_S = 2.0
"""A node that refuses a connection is about to end."""
_AGAIN_S = 0.2
"""Between two questions for deaths, where the node has ended a round or does not answer."""


class Supervisor:
    """One node process and an HTTP session to it. Use :func:`start_supervisor`."""

    def __init__(self, part: Part, session: ClientSession) -> None:
        self.part = part
        self._session = session

    async def start(self, job: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Start the processes of a round; ``{service, replica, pid, host, http_port, grpc_port}``
        of each. Raises CannotStart for one that does not come up."""
        answer = await self._call("POST", "/start", job)
        processes: list[dict[str, Any]] = answer["processes"]
        return processes

    async def connect(self, directory: Directory) -> None:
        await self._call("POST", "/connect", {"directory": directory})

    async def begin(self, start_ns: int, measured_from_ns: int) -> None:
        times = {"start_ns": start_ns, "measured_from_ns": measured_from_ns}
        await self._call("POST", "/begin", times)

    async def counters(self) -> tuple[ProcessReport, ...]:
        """Of every process that lives."""
        return _reports(await self._call("GET", "/counters"))

    async def deaths(self) -> str:
        """Wait for the first service process that dies unasked, and tell how.

        Returns only then; a node that is gone is told by its own process's end.
        """
        while True:
            try:
                answer = await self._call("GET", "/deaths", bound_s=None)
            except CannotStart:
                await asyncio.sleep(_AGAIN_S)
                continue
            if not answer["deaths"]:
                await asyncio.sleep(_AGAIN_S)
                continue
            return "\n".join(
                f"{death['part']} {death['text']}"
                + (f"; its log ends:\n{death['log']}" if death["log"] else "")
                for death in answer["deaths"]
            )

    async def stop(self, grace_ns: int) -> tuple[ProcessReport, ...]:
        """End the round's processes; the last reports of those that still could give one."""
        bound_s = grace_ns / 1e9 + STOP_SLACK_S + 5.0
        return _reports(await self._call("POST", "/stop", {"grace_ns": grace_ns}, bound_s))

    async def close(self) -> None:
        await self._session.close()
        await self.part.stop()

    async def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        bound_s: float | None = _CALL_BOUND_S,
    ) -> dict[str, Any]:
        try:
            async with self._session.request(
                method,
                path,
                data=None if body is None else orjson.dumps(body),
                timeout=ClientTimeout(total=bound_s),
            ) as response:
                said = await response.read()
        except ClientError as error:
            raise await self._gone(path, error) from error
        except TimeoutError as error:
            raise CannotStart("node", f"does not answer {path}: too late") from error
        try:
            answer: dict[str, Any] = orjson.loads(said)
        except orjson.JSONDecodeError:
            raise CannotStart(
                "node", f"failed at {path} (HTTP {response.status})", tail(self.part.log)
            ) from None
        if response.status != 200:
            raise CannotStart(
                answer.get("part", "node"),
                answer["text"],
                answer.get("log", ""),
                answer.get("hint"),
            )
        return answer

    async def _gone(self, path: str, error: ClientError) -> CannotStart:
        """Why a call was refused: the end of the node's process, where there is one to see."""
        try:
            async with asyncio.timeout(_END_S):
                status = await self.part.process.wait()
        except TimeoutError:
            return CannotStart("node", f"does not answer {path}: {error}")
        return CannotStart("node", f"died ({ending(status)})", tail(self.part.log))


async def start_supervisor(log: Path) -> Supervisor:
    """Start a node on loopback. Raises CannotStart."""
    token = secrets.token_urlsafe()
    part = await start_part("node", "services.node", (), log, {TOKEN_VARIABLE: token})
    return Supervisor(
        part,
        ClientSession(
            f"http://127.0.0.1:{part.ready['port']}",
            headers={TOKEN_HEADER: token},
            trust_env=False,
        ),
    )


def job(
    scenario: Scenario,
    source: str,
    variant: str,
    *,
    settings: Settings,
    seed: int,
    unix_offset_ns: int,
    logs: Path,
    collector: Part,
    broker: Mapping[str, str] | None,
    listen_all: bool = False,
) -> dict[str, Any]:
    """What ``POST /start`` takes: every replica of ``scenario``, which is ``variant`` of
    ``source``. ``listen_all`` opens HTTP and gRPC on each, whether an edge comes that way or not.
    """
    return {
        "source": source,
        "variant": variant,
        "services": [
            [service.name, replica]
            for service in scenario.services.values()
            for replica in range(service.replicas)
        ],
        "settings": {
            "seed": seed,
            # Kafka's topics outlive a round, and a real broker's outlive a run.
            "round": secrets.token_hex(6),
            "instrumentation": settings.instrumentation,
            "tracing": settings.tracing,
            "unix_offset_ns": unix_offset_ns,
            "host": "127.0.0.1",
            "listen_all": listen_all,
            "logs": str(logs.resolve()),
        },
        "endpoints": {
            "collector": f"127.0.0.1:{collector.ready['grpc_port']}",
            "broker": broker,
        },
    }


def directory_of(processes: Sequence[Mapping[str, Any]]) -> dict[str, tuple[Address, ...]]:
    """Where every replica listens, from what the node said when they had started."""
    found: dict[str, list[tuple[int, Address]]] = {}
    for process in processes:
        address = Address(process["host"], process["http_port"], process["grpc_port"])
        found.setdefault(process["service"], []).append((process["replica"], address))
    return {
        service: tuple(address for _, address in sorted(replicas, key=lambda pair: pair[0]))
        for service, replicas in found.items()
    }


def _reports(answer: Mapping[str, Any]) -> tuple[ProcessReport, ...]:
    return tuple(
        ProcessReport(
            **{**report, "doubts": tuple((code, text) for code, text in report["doubts"])}
        )
        for report in answer["processes"]
    )
