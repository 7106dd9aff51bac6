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
from collections import Counter
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic_ns
from typing import Any, Literal

import orjson
from aiohttp import ClientError, ClientSession, ClientTimeout

from hopbench import broker as kafka
from hopbench.addresses import taken
from hopbench.cores import Cores, place
from hopbench.engines.generator import Generator, start_generator
from hopbench.engines.port import (
    BrokerKind,
    EngineName,
    Evidence,
    ProcessReport,
    Progress,
    RoundPlan,
    Settings,
)
from hopbench.engines.supervisor import Supervisor, directory_of, job, start_supervisor
from hopbench.hostload import Snapshot, shares, snapshot, used
from hopbench.otlp import SIGNALS, take
from hopbench.parts import Part, start_part
from hopbench.spool import read_spool
from loadgen.plan import Plan
from services.errors import CannotStart
from services.scenario.model import Scenario
from services.topology import topology, uses_kafka

HEAD_START_NS = 300_000_000
"""From the order to begin to the schedule's zero: every process has heard it by then,
and has tried its clock."""
DRAIN_BOUND_S = 15.0
_POLL_S = 0.05
_TELL_S = 0.2
_CAUSE_S = 3.0
"""A part that has closed its ports ends within this."""
_GRACE_NS = 2_000_000_000
"""For what is still under way when a round is broken off."""
_CLOCK_STEP_NS = 5_000_000
_HUB_LAG_NS = 50_000_000


@dataclass(slots=True)
class Round:
    """What a round knows of itself while it runs."""

    directory: Path
    collector: Part
    generator: Generator
    service_pids: dict[str, tuple[int, ...]]
    start_ns: int
    measured_from_ns: int
    measured_to_ns: int
    before: Snapshot | None = None
    after: Snapshot | None = None
    finished: dict[str, Any] = field(default_factory=dict)
    reports: tuple[ProcessReport, ...] = ()
    spans_received: int = 0
    undrained: str | None = None
    broken: str | None = None
    ended_ns: int = 0
    doubts: list[tuple[str, str]] = field(default_factory=list)


class Broken(Exception):
    """A part died in the round; the text says which, how, and what it said last."""


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
            await self._execute(running, node, progress)
            if running.broken is not None:
                await self._salvage(running, node)
        return self._evidence(plan, directory, running)

    # Before the first request: whatever fails here is CannotStart.

    async def _prepare(
        self,
        plan: RoundPlan,
        directory: Path,
        stack: AsyncExitStack,
        node: Supervisor,
        progress: Progress,
    ) -> Round:
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
        return Round(
            directory=directory,
            collector=collector,
            generator=generator,
            service_pids={service: tuple(of) for service, of in pids.items()},
            start_ns=start_ns,
            measured_from_ns=start_ns + load.warmup_ns,
            measured_to_ns=start_ns + load.warmup_ns + load.duration_ns,
        )

    # From the first request to the end of the drain.

    async def _execute(self, running: Round, node: Supervisor, progress: Progress) -> None:
        """The round itself. A part that dies leaves its text in ``running.broken``."""
        try:
            async with asyncio.TaskGroup() as group:
                beside = [
                    group.create_task(self._first_death(running, node)),
                    group.create_task(_tell(running, progress)),
                ]
                await node.begin(running.start_ns, running.measured_from_ns)
                running.before = snapshot(monotonic_ns())
                running.finished = await running.generator.run(running.start_ns, _unheard)
                if running.finished["broken"] is not None:
                    raise Broken(f"locust: {running.finished['broken']}")
                await self._drain(running, node, progress)
                for task in beside:
                    task.cancel()
        except* Broken as deaths:
            running.broken = str(deaths.exceptions[0])
        except* CannotStart as failures:
            # A call to a part that is gone fails before its end is seen.
            first = failures.exceptions[0]
            assert isinstance(first, CannotStart)
            if running.broken is None and first.part != "locust":
                running.broken = await self._cause(running, node)
            running.broken = running.broken or f"{first}\n{first.log}".rstrip()
        running.ended_ns = monotonic_ns()

    async def _cause(self, running: Round, node: Supervisor) -> str | None:
        """Which death explains that a part does not answer; None where all live."""
        try:
            async with asyncio.timeout(_CAUSE_S):
                await self._first_death(running, node)
        except Broken as death:
            return str(death)
        except TimeoutError:
            pass
        return None

    async def _first_death(self, running: Round, node: Supervisor) -> None:
        """Raises Broken as soon as any part dies that should live."""
        deaths = [
            asyncio.create_task(running.collector.died()),
            asyncio.create_task(node.part.died()),
            asyncio.create_task(node.deaths()),
        ]
        if self._embedded is not None:
            deaths.append(asyncio.create_task(self._embedded.died()))
        try:
            done, _ = await asyncio.wait(deaths, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in deaths:
                task.cancel()
        raise Broken(next(iter(done)).result())

    async def _drain(self, running: Round, node: Supervisor, progress: Progress) -> None:
        """Until nothing is in flight and everything has arrived, or the bound has passed."""
        progress("drain", 0.0)
        until_ns = monotonic_ns() + int(DRAIN_BOUND_S * 1e9)
        calm: tuple[int, int] | None = None
        while True:
            reports = await node.counters()
            why = _unfinished(reports)
            state = (
                sum(r.handled for r in reports),
                sum(sum(r.produced.values()) for r in reports),
            )
            # The processes are asked at different moments; twice the same is once at a time.
            if why is None and state == calm:
                break
            if monotonic_ns() > until_ns:
                running.undrained = why or "handlers still opened and closed"
                break
            calm = state if why is None else None
            await asyncio.sleep(_POLL_S)
        running.after = snapshot(monotonic_ns())
        progress("drain", 0.5)
        left_ns = max(_GRACE_NS, until_ns - monotonic_ns())
        running.reports = await node.stop(left_ns)
        expected = sum(report.spans_ended for report in running.reports)
        while (received := await _spans(running.collector)) < expected:
            if monotonic_ns() > until_ns:
                running.undrained = running.undrained or (
                    f"{expected - received} of {expected} spans have not arrived"
                )
                break
            await asyncio.sleep(_POLL_S)
        running.spans_received = received
        progress("drain", 1.0)

    async def _salvage(self, running: Round, node: Supervisor) -> None:
        """Keep what a broken round has measured: samples, spans, reports of those that live."""
        await running.generator.stop()
        if running.after is None:
            running.after = snapshot(monotonic_ns())
        try:
            # Without a collector there is nobody to wait for with spans.
            heard = running.collector.process.returncode is None
            running.reports = await node.stop(_GRACE_NS if heard else 0)
            running.spans_received = await _spans(running.collector)
        except CannotStart as error:
            running.broken = f"{running.broken}\nno last reports: {error.text}"
        await running.collector.stop()
        running.spans_received = max(
            running.spans_received, spooled(running.directory / "traces.otlp")
        )

    # What is left.

    def _evidence(self, plan: RoundPlan, directory: Path, running: Round) -> Evidence:
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
            start_ns=running.start_ns,
            unix_offset_ns=self._unix_offset_ns,
            measured_from_ns=running.measured_from_ns,
            measured_to_ns=running.measured_to_ns,
            processes=running.reports,
            service_pids=running.service_pids,
            locust_pids=(running.generator.pid,),
            generator_cpu_ns=generator_cpu_ns,
            elapsed_ns=running.ended_ns - running.start_ns,
            spans_received=running.spans_received,
            undrained=running.undrained,
            broken=running.broken,
            interrupted=False,
            host=host,
            doubts=(*running.doubts, *self._doubts(finished)),
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


def _unfinished(reports: tuple[ProcessReport, ...]) -> str | None:
    """What still goes on, or None."""
    opened = sum(report.open_handlers for report in reports)
    if opened:
        return f"{opened} handlers are still open"
    produced: Counter[str] = Counter()
    consumed: Counter[str] = Counter()
    for report in reports:
        produced.update(report.produced)
        consumed.update(report.consumed)
    for topic in sorted(produced | consumed):
        if produced[topic] != consumed[topic]:
            return f"topic {topic}: {produced[topic]} messages produced, {consumed[topic]} consumed"
    return None


async def _tell(running: Round, progress: Progress) -> None:
    """Report the phase by the schedule; the requests themselves are the generator's affair."""
    while (now_ns := monotonic_ns()) < running.measured_to_ns:
        if now_ns < running.measured_from_ns:
            whole = running.measured_from_ns - running.start_ns
            progress("warmup", max(0, now_ns - running.start_ns) / whole)
        else:
            whole = running.measured_to_ns - running.measured_from_ns
            progress("measured", (now_ns - running.measured_from_ns) / whole)
        await asyncio.sleep(_TELL_S)


def _unheard(_sent: int, _ended: int) -> None:
    """Progress by requests; the phases are told by time."""


async def _spans(collector: Part) -> int:
    """Spans that the collector has written. Raises CannotStart where it is gone."""
    url = f"http://127.0.0.1:{collector.ready['http_port']}/hopbench/counts"
    try:
        async with (
            ClientSession(timeout=ClientTimeout(total=10), trust_env=False) as session,
            session.get(url) as response,
        ):
            counts: dict[str, Any] = orjson.loads(await response.read())
    except (ClientError, TimeoutError) as error:
        raise CannotStart("collector", f"does not answer: {error or 'too late'}") from error
    return int(counts["spans"])


async def _release(node: Supervisor) -> None:
    """End what a round still has running; a node that is gone has nothing."""
    try:
        await node.stop(_GRACE_NS)
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


def spooled(path: Path) -> int:
    """Spans in a spool whose collector can't be asked any more."""
    return sum(take(SIGNALS[0], record, "protobuf").items for record in read_spool(path))
