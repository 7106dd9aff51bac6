"""The engine of attached parts: nodes, Locust and Kafka in containers of their own.

One engine for Docker Compose and for Kubernetes: somebody else starts the containers, this one
finds them (hopbench/engines/attached/places.py), runs rounds on them, and leaves them as they are.
Nodes are looked for anew before each round, so one that was started again is picked up.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from ipaddress import IPv4Address
from pathlib import Path
from time import monotonic_ns
from typing import Final

from hopbench.engines.attached.generator import attach
from hopbench.engines.attached.node import Attached, resolve, seen_from
from hopbench.engines.attached.places import Places, check, places
from hopbench.engines.port import Settings
from hopbench.engines.wall.engine import WallEngine
from hopbench.engines.wall.generator import Generator
from hopbench.engines.wall.nodes import Nodes, Post, together
from hopbench.engines.wall.running import Mortal
from hopbench.engines.wall.watch import AWAY_S, Watched
from hopbench.host.cores import Cores
from hopbench.parts import broker as kafka
from loadgen.plan import Plan
from services.doubts import Code, Doubt
from services.errors import CannotStart
from services.scenario.model import Scenario
from services.scenario.packing import Pack, packed, packs
from services.system.endpoints import Endpoint
from services.transports.site import Broker

WAIT_S: Final[Mapping[str, float]] = {"compose": 30.0, "kubernetes": 300.0}
"""For nodes to be found and to answer. Compose starts the bench when they do; in Kubernetes
everything starts at once, and images may have to be pulled."""
_AGAIN_S: Final = 0.5


class FleetParts:
    """``environment`` tells where parts are, ``wait_s`` bounds the wait for them.

    Raises BadInput for an environment that does not.
    """

    here: Final = False
    cores: Cores | None = None

    def __init__(
        self, settings: Settings, environment: Mapping[str, str], wait_s: float | None = None
    ) -> None:
        self.name: str = settings.engine
        self._settings = settings
        self._environment = environment
        self._places: Places = places(settings.engine, environment)
        self._wait_s = WAIT_S[settings.engine] if wait_s is None else wait_s
        self._broker: Endpoint | None = None
        self._strangers: tuple[str, ...] = ()

    async def open(self, logs: Path, broker: bool) -> Broker | None:
        if not broker:
            return None
        # The places were checked: a broker inside the bench could not be reached.
        self._broker = at = self._settings.kafka
        assert at is not None
        await kafka.check(at)
        return Broker(str(at), "kafka")

    async def broker(self) -> Broker | None:
        if self._broker is not None:
            await kafka.back(self._broker, AWAY_S)
        return None

    async def muster(self, scenario: Scenario, stack: AsyncExitStack) -> Nodes:
        """Raises BadInput for a service without a node."""
        check(self._settings, (scenario,), self._environment)
        until_ns = monotonic_ns() + int(self._wait_s * 1e9)
        names = tuple(scenario.services)
        wanted = self._wanted(scenario)
        found = dict(
            zip(
                names,
                await together(*(self._found(name, wanted[name], until_ns) for name in names)),
                strict=True,
            )
        )
        work = spread(packs(scenario), found)
        nodes: dict[Endpoint, Attached] = {}
        for place in work:
            served = tuple(name for name in names if place in found[name])
            nodes[place] = Attached(served, place, self._places.token)
            stack.push_async_callback(nodes[place].close)
        await together(*(node.answers(until_ns) for node in nodes.values()))
        posts = await together(
            *(self._post(nodes[place], tuple(its)) for place, its in work.items())
        )
        self._strangers = tuple(post.host for post in posts if not post.same_clock)
        return Nodes(tuple(posts))

    def _wanted(self, scenario: Scenario) -> Mapping[str, int]:
        """How many nodes each service has at the least. In Kubernetes, where each is found as soon
        as it is ready, that is one for each replica, or for each pack that has a replica."""
        if self.name != "kubernetes":
            return dict.fromkeys(scenario.services, 1)
        if packed(scenario):
            return {name: len(self._places.nodes[name]) for name in scenario.services}
        return {name: its.replicas for name, its in scenario.services.items()}

    async def _found(self, service: str, wanted: int, until_ns: int) -> tuple[Endpoint, ...]:
        """Addresses of the nodes of ``service``, in order.

        Raises CannotStart where they are not found in time.
        """
        entries = self._places.nodes[service]
        while True:
            found = {place for entry in entries for place in await resolve(entry)}
            if len(found) >= wanted:
                return tuple(sorted(found, key=lambda place: (IPv4Address(place.host), place.port)))
            if monotonic_ns() > until_ns:
                where = " and ".join(map(str, entries))
                raise CannotStart(
                    f"node {service}",
                    f"{where} has {len(found)} addresses, {wanted} needed, "
                    f"after {self._wait_s:g} s",
                    hint="is its container running?",
                )
            await asyncio.sleep(_AGAIN_S)

    async def _post(self, node: Attached, its: tuple[Pack, ...]) -> Post:
        _, same_clock = await node.clock()
        host = node.place.host
        try:
            bench = self._places.advertise or seen_from(node.place)
        except OSError as error:
            raise CannotStart(node.name, f"no way to {node.place}: {error.strerror}") from error
        return Post(
            node,
            its,
            # In a container every interface is the container's own.
            listen=host if IPv4Address(host).is_loopback else "0.0.0.0",
            host=host,
            bench=bench,
            same_clock=same_clock,
            attached=True,
        )

    async def load(self, plan: Plan, directory: Path) -> Generator:
        """Waits for the master as long as for nodes."""
        until_ns = monotonic_ns() + int(self._wait_s * 1e9)
        # One worker is what everybody asks for who asks for nothing: then all that there are.
        workers = self._settings.workers if self._settings.workers > 1 else None
        while True:
            try:
                return await attach(
                    self._places.locust,
                    self._places.token,
                    plan,
                    directory,
                    directory / "logs" / "locust.log",
                    workers=workers,
                )
            except CannotStart:
                if monotonic_ns() > until_ns:
                    raise
            await asyncio.sleep(_AGAIN_S)

    def beside(self) -> Sequence[Mortal]:
        return () if self._broker is None else (Watched("Kafka", self._broker),)

    def doubts(self) -> list[Doubt]:
        if not self._strangers:
            shared = f"{os.cpu_count()} cores: the containers share them"
            return [Doubt(Code.CORES_SHARED, shared)]
        return [
            Doubt(
                Code.CLOCKS_APART,
                f"{', '.join(self._strangers)}: other hosts than the bench; what is measured "
                "between hosts is as good as their clocks agree",
            )
        ]

    async def close(self) -> None:
        return


def spread(
    of: Sequence[Pack], found: Mapping[str, Sequence[Endpoint]]
) -> dict[Endpoint, list[Pack]]:
    """Which of the ``found`` nodes runs what: replica r of a service its node r mod N. Where
    services share processes, any node may take any of these, so each takes its turn."""
    everywhere = tuple(dict.fromkeys(place for places in found.values() for place in places))
    shared = any(pack.shared for pack in of)
    work: dict[Endpoint, list[Pack]] = {}
    for number, pack in enumerate(of):
        service, replica = pack.replicas[0]
        on, turn = (everywhere, number) if shared else (found[service], replica)
        work.setdefault(on[turn % len(on)], []).append(pack)
    return work


class FleetEngine(WallEngine):
    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, FleetParts(settings, os.environ))
