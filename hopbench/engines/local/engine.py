"""The local engine: one process for each service replica, on loopback, without Docker.

For the run: a node, and a broker where any variant needs one.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from hopbench.engines.local.supervisor import Supervisor, start_supervisor
from hopbench.engines.port import Settings
from hopbench.engines.wall.engine import WallEngine
from hopbench.engines.wall.generator import Generator, start_generator
from hopbench.engines.wall.nodes import Nodes, Post
from hopbench.engines.wall.running import Mortal
from hopbench.engines.wall.watch import AWAY_S, Watched
from hopbench.host.cores import Cores, place
from hopbench.host.ports import taken
from hopbench.parts import broker as kafka
from hopbench.parts.part import Part
from loadgen.plan import Plan
from services.doubts import Code, Doubt
from services.errors import CannotStart
from services.scenario.model import Scenario
from services.scenario.packing import packs
from services.transports.site import Broker


class LocalParts:
    name: Final = "local"
    here: Final = True

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._logs = Path()
        self._nodes: list[Supervisor] = []
        self._busy: set[Supervisor] = set()
        self._started = 0
        self._embedded: Part[kafka.Embedded] | None = None
        self._real: Watched | None = None
        self.cores: Cores | None = None

    async def open(self, logs: Path, broker: bool) -> Broker | None:
        self._logs = logs
        port = self._settings.web_port
        if port is not None and (why := taken(port)) is not None:
            raise CannotStart("locust", why, hint="--web takes another port")
        found = await self._open_broker() if broker else None
        self.cores = place(self._settings.workers)
        if self.cores is not None:
            self.cores.pin_bench()
        self._pin_broker()
        await self._free()
        return found

    async def _open_broker(self) -> Broker:
        at = self._settings.kafka
        if at is None:
            self._embedded = await kafka.start(self._logs / "broker.log")
            return Broker(self._embedded.ready.address, "embedded")
        await kafka.check(at)
        self._real = Watched("Kafka", at)
        return Broker(str(at), "kafka")

    def _pin_broker(self) -> None:
        if self.cores is not None and self._embedded is not None:
            self.cores.pin_harness(self._embedded.pid)

    async def _free(self) -> Supervisor:
        """A node that runs nothing; started where there is none, or a round has cost its life."""
        for node in [each for each in self._nodes if each not in self._busy]:
            if node.part.process.returncode is None:
                return node
            self._nodes.remove(node)
            await node.close()
        self._started += 1
        number = f"-{self._started}" if self._started > 1 else ""
        node = await start_supervisor(self._logs / f"node{number}.log")
        self._nodes.append(node)
        if self.cores is not None:
            self.cores.pin_services(node.part.pid)
        return node

    async def muster(self, scenario: Scenario, stack: AsyncExitStack) -> Nodes:
        node = await self._free()
        self._busy.add(node)
        stack.callback(self._busy.discard, node)
        return Nodes((Post(node, packs(scenario)),))

    async def load(self, plan: Plan, directory: Path) -> Generator:
        path = directory / "plan.json"
        plan.write(path)
        return await start_generator(
            path,
            directory / "logs" / "locust.log",
            self._settings.web_port,
            self._settings.workers,
        )

    async def broker(self) -> Broker | None:
        """The embedded one again, where a round has cost its life; None where nothing changed.

        Raises CannotStart where a real one has gone since.
        """
        if self._real is not None and (at := self._settings.kafka) is not None:
            await kafka.back(at, AWAY_S)
        if self._embedded is None or self._embedded.process.returncode is None:
            return None
        found = await self._open_broker()
        self._pin_broker()
        return found

    def beside(self) -> Sequence[Mortal]:
        return tuple(broker for broker in (self._embedded, self._real) if broker is not None)

    def doubts(self) -> list[Doubt]:
        if self.cores is not None:
            return []
        shared = f"{os.cpu_count()} cores: generator, services and broker share them"
        return [Doubt(Code.CORES_SHARED, shared)]

    async def close(self) -> None:
        nodes, self._nodes = self._nodes, []
        embedded, self._embedded = self._embedded, None
        try:
            await asyncio.gather(*(node.close() for node in nodes))
        finally:
            if self.cores is not None:
                self.cores.release_bench()
            if embedded is not None:
                await embedded.stop()


class LocalEngine(WallEngine):
    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, LocalParts(settings))
