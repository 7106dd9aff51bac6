"""The bench's side of a node of its own."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import suppress
from pathlib import Path

from aiohttp import ClientError, ClientSession

from hopbench.engines.wall.control import NodeControl, first
from hopbench.parts.part import Part, start_part
from services.errors import CannotStart
from services.node.messages import TOKEN_HEADER, Serving
from services.system.children import ending
from services.system.logs import tail
from services.system.tokens import TOKEN_VARIABLE

_END_S = 2.0
"""A node that refuses a connection is about to end."""
_AGAIN_S = 0.2
"""Between two questions for deaths, where the node has ended a round or does not answer."""


class Supervisor(NodeControl):
    """One node process and an HTTP session to it. Use :func:`start_supervisor`."""

    def __init__(self, part: Part[Serving], session: ClientSession) -> None:
        super().__init__(session)
        self.part = part

    async def died(self) -> str:
        return await first(
            asyncio.create_task(self.part.died()), asyncio.create_task(self._service_died())
        )

    async def _service_died(self) -> str:
        """A node that is gone is told by its own end."""
        while True:
            with suppress(CannotStart):
                answer = await self._deaths("/deaths", None)
                if answer.deaths:
                    return answer.told()
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
    part = await start_part(
        "node",
        "services.node.server",
        (),
        log,
        ready=Serving,
        environment={TOKEN_VARIABLE: token},
    )
    return Supervisor(
        part,
        ClientSession(
            f"http://127.0.0.1:{part.ready.port}",
            headers={TOKEN_HEADER: token},
            trust_env=False,
        ),
    )
