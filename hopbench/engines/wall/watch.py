"""Watching what is not ours to start: whether something still listens where it did."""

from __future__ import annotations

import asyncio
import os
from time import monotonic
from typing import Final

AWAY_S: Final = 45.0
"""A broker that is started again is back within this, and a round survives that: its clients wait
as long (services/transports/kafka/link.py)."""
_LOOK_S: Final = 1.0
_TRY_S: Final = 2.0


class Watched:
    """A part at ``address`` (``HOST:PORT``)."""

    def __init__(self, name: str, address: str, away_s: float = AWAY_S) -> None:
        self._name = name
        self._host, _, port = address.rpartition(":")
        self._port = int(port)
        self._away_s = away_s

    async def died(self) -> str:
        """Wait until nobody has listened there for long, and tell so."""
        seen = monotonic()
        while True:
            why = await self.missing()
            if why is None:
                seen = monotonic()
            elif monotonic() - seen > self._away_s:
                return f"{why}, for {self._away_s:g} s"
            await asyncio.sleep(_LOOK_S)

    async def missing(self) -> str | None:
        """Why it cannot be reached now; None where it can."""
        try:
            async with asyncio.timeout(_TRY_S):
                _, writer = await asyncio.open_connection(self._host.strip("[]"), self._port)
        except TimeoutError:
            why = "no connection"
        except OSError as error:
            # asyncio puts the address into its texts; a name that is unknown has no errno.
            why = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        else:
            writer.close()
            return None
        return f"{self._name} does not answer at {self._host}:{self._port}: {why}"
