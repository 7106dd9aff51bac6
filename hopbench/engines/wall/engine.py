"""A round in wall time, the same on every engine that runs real processes.

For each round: nodes, a collector, new service processes, and Locust. The schedule's zero is set a
little ahead once everything is connected; the round then ends with the generator, is drained, and
taken down. Whatever dies in between ends the round at once. Where nodes, Locust and broker come
from, started here or attached to, is the affair of :class:`Parts`.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from time import monotonic_ns
from typing import Final, Protocol

import numpy as np

from hopbench.engines.port import (
    BrokerKind,
    ClockName,
    Evidence,
    Host,
    Progress,
    RoundPlan,
    Settings,
)
from hopbench.engines.wall import trace_stores
from hopbench.engines.wall.generator import Generator
from hopbench.engines.wall.nodes import Nodes, together
from hopbench.engines.wall.running import Mortal, Running, Times
from hopbench.engines.wall.stage import GRACE_NS, Stage, collecting, stage
from hopbench.host.cores import Cores
from hopbench.host.load import shares, used
from hopbench.jaeger import client as jaeger
from loadgen.plan import Plan
from services.doubts import Code, Doubt
from services.scenario.model import Scenario
from services.transports.site import Broker
from services.wire.topology import topology, uses_kafka

HEAD_START_NS: Final = 300_000_000
"""From the order to begin to the schedule's zero: every process has heard it by then,
and has tried its clock."""
_CLOCK_STEP_NS: Final = 5_000_000
_HUB_LAG_NS: Final = 50_000_000


async def _all(rounds: Sequence[Running], progress: Progress) -> None:
    """Rounds of one sitting, whose progress is the same; when one breaks, the others are given
    up: it is to be repeated as a whole."""
    tasks = [
        asyncio.create_task(each.run(progress if number == 0 else _nothing))
        for number, each in enumerate(rounds)
    ]
    try:
        pending: set[asyncio.Task[None]] = set(tasks)
        while pending:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            if any(each.broken is not None for each in rounds):
                break
        for each, task in zip(rounds, tasks, strict=True):
            if task in pending:
                task.cancel()
                await asyncio.wait({task})
                await each.give_up("the round that shared its sitting broke")
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _nothing(phase: str, share: float) -> None:
    return


class Parts(Protocol):
    """Where the processes of a round come from."""

    cores: Cores | None
    """Where parts are kept on cores of their own."""

    @property
    def name(self) -> str: ...

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

    def doubts(self) -> list[Doubt]:
        """About where the last round's processes ran."""
        ...

    async def close(self) -> None: ...


class WallEngine:
    clock: ClockName = "wall"

    def __init__(self, settings: Settings, parts: Parts) -> None:
        self.name: str = parts.name
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
        (found,) = await self.sitting([plan], [directory], progress)
        return found

    async def sitting(
        self, plans: Sequence[RoundPlan], directories: Sequence[Path], progress: Progress
    ) -> tuple[Evidence, ...]:
        progress("start", 0.0)
        begun_ns = monotonic_ns()
        # Left in reverse order, however the round ends: no more load, then the services with what
        # they have still to send, then the collector.
        async with AsyncExitStack() as stack:
            sets = list(zip(plans, directories, strict=True))
            staged = [await self.stage(plan, directory, stack) for plan, directory in sets]
            progress("start", 0.4)
            generators: list[Generator] = []
            for each, directory in zip(staged, directories, strict=True):
                load = each.load(directory / "samples.spool")
                generators.append(await self._parts.load(load, directory))
                stack.push_async_callback(generators[-1].stop)
            await together(
                *(each.nodes.connect(each.directory) for each in staged),
                *(generator.ready() for generator in generators),
            )
            if self._parts.cores is not None:
                for generator in generators:
                    self._parts.cores.pin_generator(generator.pids)
            progress("start", 1.0)
            start_s = (monotonic_ns() - begun_ns) / 1e9
            start_ns = monotonic_ns() + HEAD_START_NS
            ends_ns = start_ns + max(
                plan.scenario.load.length_ns if plan.slices is None else plan.slices.ends_ns
                for plan in plans
            )
            parts = zip(staged, generators, directories, strict=True)
            running = [self._running(*part, start_ns, ends_ns) for part in parts]
            await _all(running, progress)
        return tuple(
            self._evidence(each, of, start_s) for each, of in zip(staged, running, strict=True)
        )

    async def stage(
        self, plan: RoundPlan, directory: Path, stack: AsyncExitStack, *, listen_all: bool = False
    ) -> Stage:
        """Everything of a round but its load, up and not connected yet. ``stack`` ends it: the
        services first, with what they have still to send, then the collector.

        Raises CannotStart for what does not come up.
        """
        (directory / "logs").mkdir(exist_ok=True)
        nodes = await self._parts.muster(plan.scenario, stack)
        self._broker = await self._parts.broker() or self._broker
        collector = await collecting(directory, nodes)
        stack.push_async_callback(collector.stop)
        if self._parts.cores is not None:
            self._parts.cores.pin_harness(collector.pid)
        stack.push_async_callback(nodes.stop, GRACE_NS)
        return await stage(
            plan,
            plan.settings(self._settings),
            nodes,
            self._broker,
            collector,
            logs=directory / "logs",
            traces=None if self._jaeger is None else self._jaeger.otlp,
            unix_offset_ns=self._unix_offset_ns,
            listen_all=listen_all,
        )

    def beside(self) -> Sequence[Mortal]:
        """What else must live: a broker, Jaeger."""
        watched = () if self._jaeger is None else (trace_stores.Watch(self._jaeger, self._api),)
        return (*self._parts.beside(), *watched)

    def _running(
        self, staged: Stage, generator: Generator, directory: Path, start_ns: int, ends_ns: int
    ) -> Running:
        load, slices = staged.plan.scenario.load, staged.plan.slices
        warmup_ns = load.warmup_ns
        if slices is not None:
            warmup_ns = int(slices.sitting(np.array([warmup_ns]))[0])
        return Running(
            directory=directory,
            collector=staged.collector,
            nodes=staged.nodes,
            generator=generator,
            store=self._store(staged, directory, start_ns),
            beside=self.beside(),
            replicas=tuple((each.service, each.replica) for each in staged.replicas),
            times=Times(
                start_ns=start_ns,
                measured_from_ns=start_ns + warmup_ns,
                measured_to_ns=start_ns + load.length_ns if slices is None else ends_ns,
                ends_ns=ends_ns,
            ),
            unix_offset_ns=self._unix_offset_ns,
        )

    def _store(self, staged: Stage, directory: Path, start_ns: int) -> trace_stores.Store:
        if self._jaeger is None:
            return trace_stores.Embedded(staged.collector, directory)
        return trace_stores.InJaeger(
            self._jaeger,
            self._api,
            staged.plan,
            staged.settings,
            start_unix_ns=start_ns + self._unix_offset_ns,
            directory=directory,
        )

    def _evidence(self, staged: Stage, running: Running, start_s: float) -> Evidence:
        # The pids of others' containers mean nothing here.
        pids = staged.pids if self._parts.here else {}
        return Evidence(
            start_ns=running.times.start_ns,
            unix_offset_ns=self._unix_offset_ns,
            # By the arm's own time, as its tables are.
            measured_from_ns=running.times.start_ns + staged.plan.scenario.load.warmup_ns,
            measured_to_ns=running.times.start_ns + staged.plan.scenario.load.length_ns,
            processes=running.reports,
            senders=running.senders,
            service_pids=pids,
            locust_pids=running.generator.pids,
            elapsed_ns=running.ended_ns - running.times.start_ns,
            spans_received=running.spans_received,
            undrained=running.undrained,
            broken=running.broken,
            host=self._host(running, staged, {p for of in pids.values() for p in of}, start_s),
            doubts=tuple(self._doubts(running)),
            slices=staged.plan.slices,
        )

    def _host(self, running: Running, staged: Stage, services: set[int], start_s: float) -> Host:
        """``services`` are the pids of all service processes that are seen here."""
        here, before, after = self._parts.here, running.before, running.after
        memory_mb = running.resident_mb if here else None
        if before is None or after is None:
            return Host(start_s=start_s, memory_mb=memory_mb)
        cores = os.cpu_count() or 1
        whole_ns = after.at_ns - before.at_ns
        seen = shares(before, after, cores)
        services_ns = (
            used(before, after, services)
            if here
            else sum(report.cpu_ns for report in running.reports)
        )
        counts, generator = running.counts, None
        if counts is not None:
            generator = counts.core_share
        elif here:
            generator = used(before, after, running.generator.pids) / whole_ns
        slices = staged.plan.slices
        if generator is not None and slices is not None:
            # In its own turns it has all of it to do.
            generator *= slices.ends_ns / staged.plan.scenario.load.length_ns
        return Host(
            start_s=start_s,
            memory_mb=memory_mb,
            steal_share=seen.steal,
            # The processes of others' containers are not seen from this one.
            foreign_cpu_share=seen.foreign if here else None,
            foreign=seen.takers if here else (),
            services_cpu_share=services_ns / (whole_ns * cores),
            generator_cpu_share=generator,
            generator_wait_share=None if counts is None else counts.core_wait_share,
        )

    def _doubts(self, running: Running) -> list[Doubt]:
        doubts = self._parts.doubts()
        step = time.time_ns() - monotonic_ns() - self._unix_offset_ns
        if abs(step) > _CLOCK_STEP_NS:
            text = f"the wall clock moved by {step / 1e6:.1f} ms in the run"
            doubts.append(Doubt(Code.CLOCK_STEP, text))
        lag_ns = None if running.counts is None else running.counts.hub_lag_ns.max
        if lag_ns is not None and lag_ns > _HUB_LAG_NS:
            text = f"the generator's hub was blocked for {lag_ns / 1e6:.0f} ms"
            doubts.append(Doubt(Code.HUB_LAG, text))
        return doubts

    async def close(self) -> None:
        await self._parts.close()
