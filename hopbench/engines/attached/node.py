"""The bench's side of a node that it did not start: found by name, asked, and seen to vanish."""

from __future__ import annotations

import asyncio
import socket
from ipaddress import IPv4Address
from time import monotonic_ns
from typing import Final

from aiohttp import ClientError, ClientSession

from hopbench.engines.wall.control import NodeControl
from services.errors import CannotStart
from services.node.messages import TOKEN_HEADER
from services.system.endpoints import Endpoint
from services.system.host_clock import HostClock, host_clock

_LOOK_S: Final = 2.0
"""A node answers ``GET /deaths`` after so long, also where nobody has died: thus both see that the
other is there."""
_SILENT_S: Final = 15.0
_TRY_S: Final = 3.0
_AGAIN_S: Final = 0.2


class Attached(NodeControl):
    """Make it inside a running loop."""

    def __init__(self, names: tuple[str, ...], place: Endpoint, token: str) -> None:
        super().__init__(
            ClientSession(
                f"http://{place}",
                headers={TOKEN_HEADER: token},
                trust_env=False,
                raise_for_status=False,
            )
        )
        self.place = place
        self.name = f"node {'+'.join(names)}"

    async def clock(self) -> tuple[HostClock, bool]:
        """Its host's clocks, and whether its CLOCK_MONOTONIC is ours. Raises CannotStart."""
        ours = host_clock()
        theirs = await self._call("GET", "/clock", HostClock, bound_s=_TRY_S)
        return theirs, theirs.shared(ours.boot_id, ours.monotonic_ns, monotonic_ns())

    async def answers(self, until_ns: int) -> None:
        """Wait until it answers. Raises CannotStart, at ``until_ns`` (CLOCK_MONOTONIC) for one
        that still does not, at once for one that does not take our token."""
        while True:
            try:
                await self._call("GET", "/clock", HostClock, bound_s=_TRY_S)
            except CannotStart as error:
                if error.part != self.name:
                    hint = "every part must be given the same HOPBENCH_TOKEN"
                    raise CannotStart(self.name, f"{self.place}: {error.text}", hint=hint) from None
                if monotonic_ns() > until_ns:
                    raise
                await asyncio.sleep(_AGAIN_S)
            else:
                return

    async def died(self) -> str:
        path = f"/deaths?within_s={_LOOK_S:g}"
        while True:
            try:
                answer = await self._deaths(path, _LOOK_S + _SILENT_S)
            except CannotStart as error:
                return f"{error.part} is gone: it {error.text}"
            if answer.deaths:
                return answer.told()

    async def gone(self, path: str, error: ClientError | TimeoutError) -> CannotStart:
        why = str(error) or "too late"
        bare = path.partition("?")[0]
        return CannotStart(self.name, f"does not answer {bare} at {self.place}: {why}")


async def resolve(place: Endpoint) -> tuple[Endpoint, ...]:
    """Every IPv4 address of its name, in order; none where there is none yet."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(
            place.host, place.port, family=socket.AF_INET, type=socket.SOCK_STREAM
        )
    except OSError:
        return ()
    hosts = {IPv4Address(address[0]) for *_, address in found}
    return tuple(Endpoint(str(host), place.port) for host in sorted(hosts))


def seen_from(place: Endpoint) -> str:
    """This host's address on the way to ``place``. Raises OSError where there is no way."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        # Sends nothing: it chooses the route.
        sock.connect(place)
        host: str = sock.getsockname()[0]
    return host
