"""Watching what is not ours to start: whether something still listens where it did."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Final

from services.system.endpoints import Endpoint, silence

AWAY_S: Final = 45.0
"""A broker that is started again is back within this, and a round survives that: its clients wait
as long (services/transports/kafka/link.py)."""
_LOOK_S: Final = 1.0
_TRY_S: Final = 2.0


class Watched:
    """A part that others have started."""

    def __init__(self, name: str, at: Endpoint, away_s: float = AWAY_S) -> None:
        self._name = name
        self._at = at
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
        why = await silence(self._at, _TRY_S)
        return None if why is None else f"{self._name} does not answer at {self._at}: {why}"
