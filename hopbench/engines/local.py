"""The local engine: one process for each service replica, on loopback, without Docker.

For the run: a node, and a broker where any variant needs one. For each round: a collector, new
service processes, and Locust. The schedule's zero is set a little ahead once everything is
connected; the round then ends with the generator, is drained, and taken down. Whatever dies in
between ends the round at once.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from time import monotonic_ns
from typing import Any, Literal

from hopbench import broker as kafka
from hopbench.addresses import taken
from hopbench.cores import Cores, place
from hopbench.engines.generator import start_generator
from hopbench.engines.port import (
    BrokerKind,
    EngineName,
    Evidence,
    Progress,
    RoundPlan,
    Settings,
)
from hopbench.engines.running import GRACE_NS, Running, Times
from hopbench.engines.supervisor import Supervisor, directory_of, job, start_supervisor
from hopbench.hostload import shares, used
from hopbench.parts import Part, start_part
from loadgen.plan import Plan
from services.errors import CannotStart
from services.scenario.model import Scenario
from services.topology import topology, uses_kafka

HEAD_START_NS = 300_000_000
"""From the order to begin to the schedule's zero: every process has heard it by then,
and has tried its clock."""
_CLOCK_STEP_NS = 5_000_000
_HUB_LAG_NS = 50_000_000


class LocalEngine:
    name: EngineName = "local"
    clock: Literal["wall", "virtual"] = "wall"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._logs = Path()
        self._node: Supervisor | None = None
        self._embedded: Part | None = None
        self._broker: dict[str, str] | None = None
        self._unix_offset_ns = time.time_ns() - monotonic_ns()
        self._cores: Cores | None = None
        self.broker_kind: BrokerKind | None = None
        self.broker_address: str | None = None

    async def open(self, scenarios: tuple[Scenario, ...], directory: Path) -> None:
        self._logs = directory / "logs"
        self._logs.mkdir(parents=True, exist_ok=True)
        port = self._settings.web_port
        if port is not None and (why := taken(port)) is not None:
            raise CannotStart("locust", why, hint="--web takes another port")
        if any(uses_kafka(topology(scenario)) for scenario in scenarios):
            await self._open_broker()
        self._cores = place()
        if self._cores is not None and self._embedded is not None:
            self._cores.pin_harness(self._embedded.pid)
        await self._supervisor()

    async def _open_broker(self) -> None:
        if self._settings.broker == "embedded":
            self._embedded = await kafka.start(self._logs / "broker.log")
            address, self.broker_kind = self._embedded.ready["address"], "embedded"
        else:
            address, self.broker_kind = self._settings.broker, "kafka"
            await kafka.check(address)
        self.broker_address = address
        self._broker = {"address": address, "kind": self.broker_kind}

    async def _revive_broker(self) -> None:
        """The embedded broker again, where a round has cost its life."""
        if self._embedded is not None and self._embedded.process.returncode is not None:
            await self._open_broker()
            if self._cores is not None:
                self._cores.pin_harness(self._embedded.pid)

    async def _supervisor(self) -> Supervisor:
        """The node, started again where a round has cost its life."""
        node = self._node
        if node is None or node.part.process.returncode is not None:
            if node is not None:
                await node.close()
            node = self._node = await start_supervisor(self._logs / "node.log")
            if self._cores is not None:
                self._cores.pin_services(node.part.pid)
        return node

    async def round(self, plan: RoundPlan, directory: Path, progress: Progress) -> Evidence:
        logs = directory / "logs"
        logs.mkdir(exist_ok=True)
        progress("start", 0.0)
        node = await self._supervisor()
        await self._revive_broker()
        # Left in reverse order, however the round ends: no more load, then the services with what
        # they have still to send, then the collector.
        async with AsyncExitStack() as stack:
            running = await self._prepare(plan, directory, stack, node, progress)
            await running.run(progress)
        return self._evidence(plan, directory, running)

    async def _prepare(
        self,
        plan: RoundPlan,
        directory: Path,
        stack: AsyncExitStack,
        node: Supervisor,
        progress: Progress,
    ) -> Running:
        """Bring every part up. Raises CannotStart for what does not come up."""
        logs = directory / "logs"
        collector = await start_part(
            "collector", "hopbench.collector", (f"--out={directory}",), logs / "collector.log"
        )
        stack.push_async_callback(collector.stop)
        if self._cores is not None:
            self._cores.pin_harness(collector.pid)
        stack.push_async_callback(_release, node)
        processes = await node.start(
            job(
                plan.scenario,
                plan.source,
                plan.variant,
                settings=self._settings,
                seed=plan.seed,
                unix_offset_ns=self._unix_offset_ns,
                logs=logs,
                collector=collector,
                broker=self._broker,
            )
        )
        progress("start", 0.4)
        addresses = directory_of(processes)
        path = directory / "plan.json"
        Plan.from_scenario(
            plan.scenario,
            plan.seed,
            addresses,
            samples=directory / "samples.spool",
            trace_ratio=self._settings.trace_ratio,
            tracing=self._settings.tracing,
            trace_salt=plan.trace_salt,
        ).write(path)
        generator = await start_generator(path, logs / "locust.log", self._settings.web_port)
        stack.push_async_callback(generator.stop)
        if self._cores is not None:
            self._cores.pin_generator(generator.pid)
        await _both(node.connect(addresses), generator.ready())
        progress("start", 1.0)
        load = plan.scenario.load
        start_ns = monotonic_ns() + HEAD_START_NS
        pids: dict[str, list[int]] = {}
        for process in processes:
            pids.setdefault(process["service"], []).append(process["pid"])
        return Running(
            directory=directory,
            collector=collector,
            node=node,
            generator=generator,
            broker=self._embedded,
            service_pids={service: tuple(of) for service, of in pids.items()},
            times=Times(
                start_ns=start_ns,
                measured_from_ns=start_ns + load.warmup_ns,
                measured_to_ns=start_ns + load.warmup_ns + load.duration_ns,
            ),
        )

    def _evidence(self, plan: RoundPlan, directory: Path, running: Running) -> Evidence:
        finished = running.finished
        generator_cpu_ns = finished.get("cpu_ns", 0)
        host: dict[str, float] = {}
        if running.before is not None and running.after is not None:
            before, after = running.before, running.after
            host |= shares(before, after, os.cpu_count() or 1)
            whole = after.at_ns - before.at_ns
            if not finished:
                generator_cpu_ns = used(before, after, [running.generator.pid])
            services = [pid for pids in running.service_pids.values() for pid in pids]
            host["services_cpu_share"] = used(before, after, services) / (
                whole * (os.cpu_count() or 1)
            )
            host["generator_cpu_share"] = generator_cpu_ns / finished.get("elapsed_ns", whole)
        return Evidence(
            plan=plan,
            directory=directory,
            start_ns=running.times.start_ns,
            unix_offset_ns=self._unix_offset_ns,
            measured_from_ns=running.times.measured_from_ns,
            measured_to_ns=running.times.measured_to_ns,
            processes=running.reports,
            service_pids=running.service_pids,
            locust_pids=(running.generator.pid,),
            generator_cpu_ns=generator_cpu_ns,
            elapsed_ns=running.ended_ns - running.times.start_ns,
            spans_received=running.spans_received,
            undrained=running.undrained,
            broken=running.broken,
            interrupted=False,
            host=host,
            doubts=tuple(self._doubts(finished)),
        )

    def _doubts(self, finished: dict[str, Any]) -> list[tuple[str, str]]:
        doubts: list[tuple[str, str]] = []
        if self._cores is None:
            doubts.append(
                (
                    "cores_shared",
                    f"{os.cpu_count()} cores: generator, services and broker share them",
                )
            )
        step = time.time_ns() - monotonic_ns() - self._unix_offset_ns
        if abs(step) > _CLOCK_STEP_NS:
            doubts.append(("clock_step", f"the wall clock moved by {step / 1e6:.1f} ms in the run"))
        lag = (finished.get("hub_lag_ns") or {}).get("max")
        if lag is not None and lag > _HUB_LAG_NS:
            doubts.append(("hub_lag", f"the generator's hub was blocked for {lag / 1e6:.0f} ms"))
        return doubts

    async def close(self) -> None:
        node, self._node = self._node, None
        embedded, self._embedded = self._embedded, None
        try:
            if node is not None:
                await node.close()
        finally:
            if embedded is not None:
                await embedded.stop()


async def _release(node: Supervisor) -> None:
    """End what a round still has running; a node that is gone has nothing."""
    try:
        await node.stop(GRACE_NS)
    except CannotStart:
        return


async def _both(*work: Coroutine[Any, Any, None]) -> None:
    """Together; the first failure ends the others and is raised itself."""
    try:
        async with asyncio.TaskGroup() as group:
            for coroutine in work:
                group.create_task(coroutine)
    except* CannotStart as failures:
        raise failures.exceptions[0] from None
