"""The virtual engine: the same behaviour in virtual time, and the same evidence in the same files.

Nothing here is measured: a round is exact and repeatable, to the byte, and its clock says so in
every document. It runs in a thread, for the simulation has an event loop of its own.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, overload

from hopbench.collector.spool import open_spool
from hopbench.engines.port import (
    BrokerKind,
    ClockName,
    Evidence,
    Progress,
    RoundPlan,
    Settings,
)
from loadgen.plan import Plan
from loadgen.samples import DROPPED, NOT_REACHED, OF_STATUS
from loadgen.schedule import Schedule, arrivals
from loadgen.slices import sliced
from loadgen.spool.recorder import recorded
from services.clocks.virtual import VirtualClock
from services.doubts import Code, Doubt
from services.report import ProcessReport, SenderReport
from services.scenario.model import Scenario
from services.scenario.steps.calls import Talk
from services.scenario.tree import operations, walk
from services.simulation.round import Arrival, Outcome, ReplicaResult, SimulationResult, simulate
from services.telemetry.encoding import encode_spans
from services.telemetry.lean import LeanTelemetry, NullTelemetry
from services.telemetry.metrics import encode_metrics
from services.telemetry.pipeline import resource_attributes
from services.telemetry.records import SAMPLED
from services.wire import statuses
from services.wire.ports import Address
from services.wire.topology import GENERATOR, Topology, topology, uses_kafka

UNIX_OFFSET_NS: Final = 1_700_000_000_000_000_000
"""Unix time of virtual zero: any fixed moment, so that equal rounds leave equal files."""
RECORDS_PER_REQUEST: Final = 2_000
"""Hop records in one export request, as an exporter's batches are bounded too."""
_TELLS: Final = 50

_NOWHERE: Final = Address("virtual", {})


class Interrupted(Exception):
    """The bench asked a simulation to end."""


class VirtualEngine:
    name: str = "virtual"
    clock: ClockName = "virtual"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.broker_kind: BrokerKind | None = None
        self.broker_address: str | None = None

    async def open(self, scenarios: tuple[Scenario, ...], directory: Path) -> None:
        if any(uses_kafka(topology(scenario)) for scenario in scenarios):
            self.broker_kind = "memory"

    async def round(self, plan: RoundPlan, directory: Path, progress: Progress) -> Evidence:
        loop = asyncio.get_running_loop()
        stop = threading.Event()

        def tell(phase: str, share: float) -> None:
            loop.call_soon_threadsafe(progress, phase, share)

        work = asyncio.ensure_future(
            asyncio.to_thread(execute, plan, plan.settings(self._settings), directory, tell, stop)
        )
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            stop.set()
            await asyncio.wait({work})
            work.exception()
            raise

    async def sitting(
        self, plans: Sequence[RoundPlan], directories: Sequence[Path], progress: Progress
    ) -> tuple[Evidence, ...]:
        """One after the other: nothing is shared on a simulated clock."""
        rounds = zip(plans, directories, strict=True)
        return tuple([await self.round(plan, place, progress) for plan, place in rounds])

    async def close(self) -> None:
        return


def execute(
    plan: RoundPlan,
    settings: Settings,
    directory: Path,
    tell: Callable[[str, float], None],
    stop: threading.Event,
) -> Evidence:
    """Simulate one round and write its files. Raises Interrupted soon after ``stop`` is set."""
    load = plan.scenario.load
    every = arrivals(
        load,
        plan.seed,
        trace_ratio=settings.trace_ratio if settings.tracing else 0.0,
        trace_salt=plan.trace_salt,
    )
    # By the arm's own time: its services have nothing to do in between.
    schedule = sliced(every, plan.slices)

    def telemetry(
        service: str, replica: int, topology: Topology, clock: VirtualClock
    ) -> LeanTelemetry:
        chance = random.Random(f"{plan.seed}/{plan.trace_salt}/{service}/{replica}")
        kind = LeanTelemetry if settings.tracing else NullTelemetry
        return kind(topology, service, replica, clock, chance.getrandbits)

    result = simulate(
        plan.scenario,
        plan.seed,
        Due(schedule, settings.tracing, load.warmup_ns, tell, stop),
        load.warmup_ns,
        telemetry,
        closed_until_ns=load.length_ns if load.pace.model == "closed" else None,
    )
    tell("drain", 0.0)
    _write_samples(plan, settings, directory, schedule, result.outcomes)
    spans = _write_telemetry(plan, settings, directory, result)
    tell("drain", 1.0)
    return Evidence(
        start_ns=0,
        unix_offset_ns=UNIX_OFFSET_NS,
        measured_from_ns=load.warmup_ns,
        measured_to_ns=load.length_ns,
        processes=tuple(map(_report, result.replicas)),
        service_pids={},
        locust_pids=(),
        elapsed_ns=result.ended_ns,
        spans_received=spans,
        undrained=_unconsumed(result),
        broken=None,
        senders=_senders(result),
        doubts=tuple(_doubts(plan.scenario)),
    )


def _doubts(scenario: Scenario) -> Iterator[Doubt]:
    yield Doubt(Code.VIRTUAL_CLOCK, "simulated, not measured; tracing costs nothing here")
    lingers = {
        f"{service.name}->{step.edge.target}"
        for service, operation in operations(scenario)
        for step in walk(operation.steps)
        if isinstance(step, Talk) and step.edge.protocol == "kafka" and step.edge.kafka.linger_ns
    }
    if lingers:
        text = f"messages leave at once: the linger of {', '.join(sorted(lingers))} is left out"
        yield Doubt(Code.NOT_MODELLED, text)


class Due(Sequence[Arrival]):
    """The schedule as the simulation takes it, one arrival at a time; tells how far it is."""

    def __init__(
        self,
        schedule: Schedule,
        tracing: bool,
        warmup_ns: int,
        tell: Callable[[str, float], None],
        stop: threading.Event,
    ) -> None:
        self._schedule = schedule
        self._tracing = tracing
        self._warmup_ns = warmup_ns
        self._tell = tell
        self._stop = stop

    def __len__(self) -> int:
        return len(self._schedule)

    @overload
    def __getitem__(self, index: int) -> Arrival: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Arrival]: ...
    def __getitem__(self, index: int | slice) -> Arrival | Sequence[Arrival]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        schedule = self._schedule
        high, low = int(schedule.trace_hi[index]), int(schedule.trace_lo[index])
        return Arrival(
            number=int(schedule.number[index]),
            intended_ns=int(schedule.offset_ns[index]),
            entry=int(schedule.entry[index]),
            sampled=bool(schedule.sampled[index]),
            trace_id=(high << 64) | low if self._tracing else 0,
        )

    def __iter__(self) -> Iterator[Arrival]:
        step = max(1, len(self) // _TELLS)
        for index in range(len(self)):
            arrival = self[index]
            if index % step == 0:
                phase = "warmup" if arrival.intended_ns < self._warmup_ns else "measured"
                self._tell(phase, index / len(self))
            if self._stop.is_set():
                raise Interrupted
            yield arrival


def _write_samples(
    plan: RoundPlan,
    settings: Settings,
    directory: Path,
    schedule: Schedule,
    outcomes: Sequence[Outcome],
) -> None:
    load = plan.scenario.load
    written = Plan(
        seed=plan.seed,
        load=load,
        addresses=tuple((_NOWHERE,) for _ in load.entries),
        trace_ratio=settings.trace_ratio,
        tracing=settings.tracing,
        trace_salt=plan.trace_salt,
        samples=directory / "samples.spool",
    )
    recorder = recorded(written.samples, schedule, written, 0)
    codes = [statuses.codes(entry.protocol) for entry in load.entries]
    try:
        for row, outcome in enumerate(outcomes):
            if outcome.status is None or outcome.sent_ns is None:
                recorder.add((row, NOT_REACHED, NOT_REACHED, DROPPED, -1, 0))
                continue
            status = OF_STATUS[outcome.status]
            done_ns = NOT_REACHED if outcome.done_ns is None else outcome.done_ns
            code = codes[int(schedule.entry[row])][outcome.status]
            if done_ns == NOT_REACHED:
                code = -1
            recorder.add((row, outcome.sent_ns, done_ns, status, code, outcome.response_bytes))
        recorder.flush()
    finally:
        recorder.close()


def _write_telemetry(
    plan: RoundPlan,
    settings: Settings,
    directory: Path,
    result: SimulationResult[LeanTelemetry],
) -> int:
    """Both spools, as a collector would have left them; the number of spans written."""
    traces, _ = open_spool(directory / "traces.otlp")
    metrics, _ = open_spool(directory / "metrics.otlp")
    spans = 0
    try:
        for replica in result.replicas:
            records = replica.telemetry.records
            resource = resource_attributes(replica.service, replica.replica, plan.variant)
            resource["host.name"], resource["process.pid"] = "virtual", 0
            if settings.tracing:
                sampled = [record for record in records if record[SAMPLED]]
                for start in range(0, len(sampled), RECORDS_PER_REQUEST):
                    part = sampled[start : start + RECORDS_PER_REQUEST]
                    traces.append(encode_spans(result.topology, part, resource, UNIX_OFFSET_NS))
                spans += len(sampled)
            body = encode_metrics(
                result.topology,
                records,
                resource,
                UNIX_OFFSET_NS,
                start_ns=0,
                end_ns=result.ended_ns,
            )
            if body is not None:
                metrics.append(body)
    finally:
        traces.close()
        metrics.close()
    return spans


def _report(replica: ReplicaResult[LeanTelemetry]) -> ProcessReport:
    counters = replica.counters
    return ProcessReport(
        service=replica.service,
        replica=replica.replica,
        pid=0,
        cpu_ns=replica.cpu_ns,
        handled=counters.handled,
        open_handlers=counters.open_handlers,
        spans_ended=sum(record[SAMPLED] for record in replica.telemetry.records),
        messages=replica.wire.messages(UNIX_OFFSET_NS),
        retries=counters.retries,
        timeouts=counters.timeouts,
        errors=counters.errors,
        faults_fired=counters.faults_fired,
        doubts=tuple(replica.wire.doubts),
        flows=counters.told(),
    )


def _senders(result: SimulationResult[LeanTelemetry]) -> tuple[SenderReport, ...]:
    """The generator's messages, where entries are over Kafka."""
    wire = result.wire
    if not wire.produced:
        return ()
    return (SenderReport(GENERATOR, 0, 0, wire.messages(UNIX_OFFSET_NS)),)


def _unconsumed(result: SimulationResult[LeanTelemetry]) -> str | None:
    """A message that nobody took: impossible, unless memory transport is wrong."""
    produced: Counter[str] = Counter()
    consumed: Counter[str] = Counter()
    for replica in result.replicas:
        produced.update(replica.wire.produced)
        consumed.update(replica.wire.consumed)
    produced.update(result.wire.produced)
    consumed.update(result.wire.consumed)
    if produced == consumed:
        return None
    return f"messages produced {dict(produced)}, consumed {dict(consumed)}"
