"""A round in wall time, the same on every engine that runs real processes.

For each round: nodes, a collector, new service processes, and Locust. The schedule's zero is set a
little ahead once everything is connected; the round then ends with the generator, is drained, and
taken down. Whatever dies in between ends the round at once. Where nodes, Locust and broker come
from, started here or attached to, is the affair of :class:`Parts`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from time import monotonic_ns
from typing import Any, Final, Literal, Protocol

from hopbench.engines.port import (
    BrokerKind,
    EngineName,
    Evidence,
    Progress,
    RoundPlan,
    Settings,
)
from hopbench.engines.wall import trace_stores
from hopbench.engines.wall.generator import Generator
from hopbench.engines.wall.job import directory_of, job
from hopbench.engines.wall.nodes import LOOPBACK, Nodes, together
from hopbench.engines.wall.running import GRACE_NS, Mortal, Running, Times
from hopbench.host.cores import Cores
from hopbench.host.load import shares, used
from hopbench.jaeger import client as jaeger
from hopbench.parts.part import Part, start_part
from loadgen.plan import Plan
from services.scenario.model import Scenario
from services.transports import site
from services.wire.topology import topology, uses_kafka

HEAD_START_NS: Final = 300_000_000
"""From the order to begin to the schedule's zero: every process has heard it by then,
and has tried its clock."""
_CLOCK_STEP_NS: Final = 5_000_000
_HUB_LAG_NS: Final = 50_000_000
_EVERYWHERE: Final = "0.0.0.0"


@dataclass(frozen=True, slots=True)
class Broker:
    address: str
    """``HOST:PORT`` as services are told."""
    kind: Literal["embedded", "kafka"]


class Parts(Protocol):
    """Where the processes of a round come from."""

    cores: Cores | None
    """Where parts are kept on cores of their own."""

    @property
    def name(self) -> EngineName: ...

    @property
    def here(self) -> bool:
        """All of them are below this process: their pids and their CPU time are seen here."""
        ...

    async def open(self, logs: Path, broker: bool) -> Broker | None:
        """Once for a run: what stays for all of it, with a ``broker`` if needed.

        Raises CannotStart; BadInput for flags that do not fit.
        """
        ...

    async def muster(self, scenario: Scenario, stack: AsyncExitStack) -> Nodes:
        """Nodes that are ready for a round of ``scenario``; ``stack`` ends with the round.

        Raises CannotStart.
        """
        ...

    async def broker(self) -> Broker | None:
        """A new one where an earlier round has cost the old one's life; None: it is the same.

        Raises CannotStart where there is none any more.
        """
        ...

    async def load(self, plan: Plan, directory: Path) -> Generator:
        """A generator on its way to be ready for ``plan``. Raises CannotStart."""
        ...

    def beside(self) -> Sequence[Mortal]:
        """What else a round does not survive."""
        ...

    def doubts(self) -> list[tuple[str, str]]:
        """About where the last round's processes ran."""
        ...

    async def close(self) -> None: ...


class WallEngine:
    clock: Literal["wall", "virtual"] = "wall"

    def __init__(self, settings: Settings, parts: Parts) -> None:
        self.name: EngineName = parts.name
        self._settings = settings
        self._parts = parts
        self._broker: Broker | None = None
        self._jaeger = trace_stores.where(settings)
        self._api: jaeger.Api = "v3"
        self._unix_offset_ns = time.time_ns() - monotonic_ns()

    @property
    def broker_kind(self) -> BrokerKind | None:
        return None if self._broker is None else self._broker.kind

    @property
    def broker_address(self) -> str | None:
        return None if self._broker is None else self._broker.address

    async def open(self, scenarios: tuple[Scenario, ...], directory: Path) -> None:
        logs = directory / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        broker = any(uses_kafka(topology(scenario)) for scenario in scenarios)
        self._broker = await self._parts.open(logs, broker)
        if self._jaeger is not None:
            self._api = await jaeger.connected(self._jaeger)

    async def round(self, plan: RoundPlan, directory: Path, progress: Progress) -> Evidence:
        (directory / "logs").mkdir(exist_ok=True)
        progress("start", 0.0)
        begun_ns = monotonic_ns()
        # Left in reverse order, however the round ends: no more load, then the services with what
        # they have still to send, then the collector.
        async with AsyncExitStack() as stack:
            running = await self._prepare(plan, directory, stack, progress)
            start = {"start_s": (monotonic_ns() - begun_ns) / 1e9}
            await running.run(progress)
        return self._evidence(plan, directory, running, start)

    async def _prepare(
        self, plan: RoundPlan, directory: Path, stack: AsyncExitStack, progress: Progress
    ) -> Running:
        """Bring every part up. Raises CannotStart for what does not come up."""
        cores = self._parts.cores
        nodes = await self._parts.muster(plan.scenario, stack)
        self._broker = await self._parts.broker() or self._broker
        listen = {post.bench for post in nodes.posts}
        collector = await start_part(
            "collector",
            "hopbench.collector.server",
            (f"--out={directory}", f"--host={LOOPBACK if listen == {LOOPBACK} else _EVERYWHERE}"),
            directory / "logs" / "collector.log",
        )
        stack.push_async_callback(collector.stop)
        if cores is not None:
            cores.pin_harness(collector.pid)
        stack.push_async_callback(nodes.stop, GRACE_NS)
        work = job(
            plan.scenario,
            plan.source,
            plan.variant,
            settings=self._settings,
            seed=plan.seed,
            unix_offset_ns=self._unix_offset_ns,
            logs=directory / "logs",
            collector=collector,
            broker=None
            if self._broker is None
            else {"address": self._broker.address, "kind": self._broker.kind},
        )
        processes = await nodes.start(
            work,
            None if self._jaeger is None else self._jaeger.otlp,
            collector.ready["grpc_port"],
        )
        progress("start", 0.4)
        addresses = directory_of(processes)
        generator = await self._parts.load(
            Plan.from_scenario(
                plan.scenario,
                plan.seed,
                addresses,
                samples=directory / "samples.spool",
                trace_ratio=self._settings.trace_ratio,
                tracing=self._settings.tracing,
                trace_salt=plan.trace_salt,
                broker=None
                if self._broker is None
                else site.Broker(self._broker.address, self._broker.kind),
                round_name=work["settings"]["round"],
            ),
            directory,
        )
        stack.push_async_callback(generator.stop)
        if cores is not None:
            cores.pin_generator(generator.pids)
        await together(nodes.connect(addresses), generator.ready())
        progress("start", 1.0)
        load = plan.scenario.load
        start_ns = monotonic_ns() + HEAD_START_NS
        pids: dict[str, list[int]] = {}
        for process in processes if self._parts.here else ():
            pids.setdefault(process["service"], []).append(process["pid"])
        return Running(
            directory=directory,
            collector=collector,
            nodes=nodes,
            generator=generator,
            store=self._store(plan, directory, collector, start_ns),
            beside=(*self._parts.beside(), *self._watches()),
            replicas=tuple((process["service"], process["replica"]) for process in processes),
            service_pids={service: tuple(of) for service, of in pids.items()},
            times=Times(
                start_ns=start_ns,
                measured_from_ns=start_ns + load.warmup_ns,
                measured_to_ns=start_ns + load.warmup_ns + load.duration_ns,
            ),
            unix_offset_ns=self._unix_offset_ns,
        )

    def _store(
        self, plan: RoundPlan, directory: Path, collector: Part, start_ns: int
    ) -> trace_stores.Store:
        if self._jaeger is None:
            return trace_stores.Embedded(collector, directory)
        return trace_stores.InJaeger(
            self._jaeger,
            self._api,
            plan,
            self._settings,
            start_unix_ns=start_ns + self._unix_offset_ns,
            directory=directory,
        )

    def _watches(self) -> Sequence[Mortal]:
        return () if self._jaeger is None else (trace_stores.Watch(self._jaeger, self._api),)

    def _evidence(
        self, plan: RoundPlan, directory: Path, running: Running, start: dict[str, float]
    ) -> Evidence:
        finished = running.finished
        locust_pids = running.generator.pids
        generator_cpu_ns = finished.get("cpu_ns", 0)
        host = start
        if running.resident_mb is not None and self._parts.here:
            host["memory_mb"] = running.resident_mb
        if running.before is not None and running.after is not None:
            before, after = running.before, running.after
            cores = os.cpu_count() or 1
            host |= shares(before, after, cores)
            whole = after.at_ns - before.at_ns
            if self._parts.here:
                # Services may share a process.
                pids = {pid for of in running.service_pids.values() for pid in of}
                services_cpu_ns = used(before, after, pids)
                if not finished:
                    generator_cpu_ns = used(before, after, locust_pids)
            else:
                # The processes of others' containers are not seen from this one.
                del host["foreign_cpu_share"]
                services_cpu_ns = sum(report.cpu_ns for report in running.reports)
            host["services_cpu_share"] = services_cpu_ns / (whole * cores)
            # Each process has one core at most: what matters is the busiest one's.
            host["generator_cpu_share"] = max(
                (
                    one["busiest_cpu_ns"] / one["elapsed_ns"]
                    for one in finished.get("workers") or [finished]
                    # One that was killed has counted nothing.
                    if one and one["elapsed_ns"]
                ),
                default=generator_cpu_ns / whole,
            )
        return Evidence(
            plan=plan,
            directory=directory,
            start_ns=running.times.start_ns,
            unix_offset_ns=self._unix_offset_ns,
            measured_from_ns=running.times.measured_from_ns,
            measured_to_ns=running.times.measured_to_ns,
            processes=running.reports,
            service_pids=running.service_pids,
            locust_pids=locust_pids,
            generator_cpu_ns=generator_cpu_ns,
            elapsed_ns=running.ended_ns - running.times.start_ns,
            spans_received=running.spans_received,
            undrained=running.undrained,
            broken=running.broken,
            host=host,
            doubts=tuple(self._doubts(finished)),
        )

    def _doubts(self, finished: dict[str, Any]) -> list[tuple[str, str]]:
        doubts = self._parts.doubts()
        step = time.time_ns() - monotonic_ns() - self._unix_offset_ns
        if abs(step) > _CLOCK_STEP_NS:
            doubts.append(("clock_step", f"the wall clock moved by {step / 1e6:.1f} ms in the run"))
        lag = (finished.get("hub_lag_ns") or {}).get("max")
        if lag is not None and lag > _HUB_LAG_NS:
            doubts.append(("hub_lag", f"the generator's hub was blocked for {lag / 1e6:.0f} ms"))
        return doubts

    async def close(self) -> None:
        await self._parts.close()
