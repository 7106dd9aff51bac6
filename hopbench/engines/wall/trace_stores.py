"""Where a round's traces go, and how they come back: to the bench's own collector, or to Jaeger.

Metrics go to the collector in either case; Jaeger has no place for them.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from time import monotonic, monotonic_ns
from typing import Final, Literal, Protocol

from aiohttp import ClientError, ClientSession, ClientTimeout

from hopbench.collector.otlp import SIGNALS, take
from hopbench.collector.server import Counts, Ready
from hopbench.collector.spool import read_spool
from hopbench.engines import is_virtual
from hopbench.engines.port import RoundPlan, Settings
from hopbench.jaeger import client as jaeger
from hopbench.jaeger.client import Addresses, Api, Jaeger, TooLate, Unanswered
from hopbench.jaeger.readback import Readback, Sought, sought
from hopbench.parts.part import Part
from loadgen.schedule import arrivals
from services import codec
from services.errors import CannotStart
from services.system.endpoints import silence

StoreName = Literal["embedded", "jaeger", "memory"]

READ_BOUND_S: Final = 60.0
"""For all spans of a round to come back from Jaeger; 100,000 take a few seconds."""
SALVAGE_S: Final = 10.0
GONE_S: Final = 5.0
"""Refusing connections for so long, Jaeger is gone: one that is started again takes less."""
STALLED_S: Final = 20.0
"""Answering nothing for so long, it will answer nothing more."""
_LOOK_S: Final = 1.0
_POLL_S: Final = 0.05


def name(settings: Settings) -> StoreName:
    """What summaries call the store of a run."""
    if is_virtual(settings):
        return "memory"
    return "embedded" if settings.jaeger is None else "jaeger"


def where(settings: Settings) -> Addresses | None:
    """The run's Jaeger; None where it has none. Raises BadInput for a malformed address."""
    if settings.jaeger is None:
        return None
    return jaeger.addresses(settings.jaeger, settings.jaeger_otlp, settings.jaeger_ui)


class Store(Protocol):
    """The traces of one round."""

    async def received(self, expected: int, until_ns: int) -> int:
        """Wait, bounded, until ``expected`` spans are there; how many are. ``until_ns``, by
        CLOCK_MONOTONIC: the end of the drain. Raises CannotStart where the store is gone."""
        ...

    async def salvaged(self) -> int:
        """How many spans of a round that broke off are in the trial directory."""
        ...


class Embedded:
    """The round's own collector, which writes ``traces.otlp``."""

    def __init__(self, collector: Part[Ready], directory: Path) -> None:
        self._collector = collector
        self._spool = directory / "traces.otlp"

    async def received(self, expected: int, until_ns: int) -> int:
        while (received := await self._counted()) < expected:
            if monotonic_ns() > until_ns:
                break
            await asyncio.sleep(_POLL_S)
        return received

    async def salvaged(self) -> int:
        await self._collector.stop()
        return spooled(self._spool)

    async def _counted(self) -> int:
        """Spans that the collector has written. Raises CannotStart where it is gone."""
        url = f"http://127.0.0.1:{self._collector.ready.http_port}/hopbench/counts"
        try:
            async with (
                ClientSession(timeout=ClientTimeout(total=10), trust_env=False) as session,
                session.get(url) as response,
            ):
                return codec.decode(Counts, await response.read()).spans
        except (ClientError, TimeoutError) as error:
            why = f"does not answer: {str(error) or 'too late'}"
            raise CannotStart("collector", why) from error


def spooled(path: Path) -> int:
    """Spans in a spool whose collector can't be asked any more."""
    return sum(take(SIGNALS[0], record, "protobuf").items for record in read_spool(path))


class InJaeger:
    """A Jaeger, out of which ``traces.jaeger`` is read when the round has ended."""

    def __init__(
        self,
        at: Addresses,
        api: Api,
        plan: RoundPlan,
        settings: Settings,
        *,
        start_unix_ns: int,
        directory: Path,
    ) -> None:
        self._plan = plan
        self._trace_ratio = settings.trace_ratio if settings.tracing else 0.0
        self._start_unix_ns = start_unix_ns
        self._jaeger = Jaeger(at.query, api)
        self._spool = directory / "traces.jaeger"
        self._readback: Readback | None = None

    async def received(self, expected: int, until_ns: int) -> int:
        return await self._read(expected, READ_BOUND_S)

    async def salvaged(self) -> int:
        try:
            return await self._read(0, SALVAGE_S)
        except CannotStart:
            return 0 if self._readback is None else self._readback.spans

    async def _read(self, expected: int, bound_s: float) -> int:
        try:
            if self._readback is None:
                # Only now, in a thread: a large schedule takes as long as a head start.
                wanted = await asyncio.to_thread(self._sought)
                self._readback = Readback(self._jaeger, wanted, self._spool)
            async with self._jaeger:
                return await self._readback.read(expected, bound_s)
        except Unanswered as error:
            raise CannotStart(jaeger.PART, str(error)) from error
        except OSError as error:
            why = f"cannot write what was read from it: {error.strerror}"
            raise CannotStart(jaeger.PART, why) from error

    def _sought(self) -> Sought:
        plan = self._plan
        schedule = arrivals(
            plan.scenario.load,
            plan.seed,
            trace_ratio=self._trace_ratio,
            trace_salt=plan.trace_salt,
        )
        return sought(plan.scenario.load, schedule, self._start_unix_ns)


class Watch:
    """Looks, while a round goes on, whether Jaeger is still there."""

    def __init__(
        self,
        at: Addresses,
        api: Api,
        *,
        gone_s: float = GONE_S,
        stalled_s: float = STALLED_S,
        look_s: float = _LOOK_S,
    ) -> None:
        self._at = at
        self._api = api
        self._gone_s = gone_s
        self._stalled_s = stalled_s
        self._look_s = look_s

    async def died(self) -> str:
        """Wait until it has been gone for so long that it will not come back, and tell how."""
        there = answered = monotonic()
        async with Jaeger(self._at.query, self._api) as client:
            while True:
                await asyncio.sleep(self._look_s)
                try:
                    await client.services()
                except TooLate as error:
                    # It takes connections: it stalls, and is not gone.
                    there, why = monotonic(), str(error)
                    if monotonic() - answered > self._stalled_s:
                        return f"{jaeger.PART} is gone: {why}"
                    continue
                except Unanswered as error:
                    why = str(error)
                else:
                    answered = monotonic()
                    silent = await silence(self._at.otlp)
                    if silent is None:
                        there = monotonic()
                        continue
                    why = f"{self._at.otlp} takes no spans: {silent}"
                if monotonic() - there > self._gone_s:
                    return f"{jaeger.PART} is gone: {why}"
