"""The bench's side of a node of its own: its process, and the jobs that nodes are given."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aiohttp import ClientError, ClientSession

from hopbench.engines.control import NodeControl, first, told
from hopbench.engines.port import Settings
from hopbench.parts.part import Part, start_part
from services.errors import CannotStart
from services.node.forks import ending, tail
from services.node.server import TOKEN_HEADER, TOKEN_VARIABLE
from services.scenario.model import Scenario
from services.scenario.packing import packs
from services.wire.ports import Address

_END_S = 2.0
"""A node that refuses a connection is about to end."""
_AGAIN_S = 0.2
"""Between two questions for deaths, where the node has ended a round or does not answer."""


class Supervisor(NodeControl):
    """One node process and an HTTP session to it. Use :func:`start_supervisor`."""

    def __init__(self, part: Part, session: ClientSession) -> None:
        super().__init__(session)
        self.part = part

    async def died(self) -> str:
        return await first(
            asyncio.create_task(self.part.died()), asyncio.create_task(self._deaths())
        )

    async def _deaths(self) -> str:
        """Returns only for a service process; a node that is gone is told by its own end."""
        while True:
            try:
                answer = await self._call("GET", "/deaths", bound_s=None)
            except CannotStart:
                await asyncio.sleep(_AGAIN_S)
                continue
            if answer["deaths"]:
                return told(answer["deaths"])
            await asyncio.sleep(_AGAIN_S)

    async def gone(self, path: str, error: ClientError | TimeoutError) -> CannotStart:
        """The end of the node's process, where there is one to see."""
        if isinstance(error, TimeoutError):
            return CannotStart("node", f"does not answer {path}: too late")
        try:
            async with asyncio.timeout(_END_S):
                status = await self.part.process.wait()
        except TimeoutError:
            return CannotStart("node", f"does not answer {path}: {error}")
        return CannotStart("node", f"died ({ending(status)})", tail(self.part.log))

    def _log(self) -> str:
        return tail(self.part.log)

    async def close(self) -> None:
        await super().close()
        await self.part.stop()


async def start_supervisor(log: Path) -> Supervisor:
    """Start a node on loopback. Raises CannotStart."""
    token = secrets.token_urlsafe()
    part = await start_part("node", "services.node.server", (), log, {TOKEN_VARIABLE: token})
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
    of = packs(scenario)
    return {
        "source": source,
        "variant": variant,
        "processes": list(of),
        # A node that has a part of them names its processes all the same by these.
        "packs": {
            "{}/{}".format(*group[0]): number for number, group in enumerate(of) if len(group) > 1
        },
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
            "traces": f"127.0.0.1:{collector.ready['grpc_port']}",
            "metrics": f"127.0.0.1:{collector.ready['grpc_port']}",
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
