"""One service process: a replica with its listeners, transports, behaviour and telemetry.

It comes out of the fork server with its job read already, and follows its node's messages on a
socket (services/control.py). Process → node, first ``{"ready": {host, http_port, grpc_port}}`` or
``{"error": text}``; then one answer to each message: ``connect`` ``{directory}``, ``begin``
``{start_ns, measured_from_ns, clock}``, ``counters``, and ``stop`` ``{grace_ns}``, after which it
leaves. Counters and the last report have the fields of ``hopbench.engines.port.ProcessReport``.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

import uvloop
from opentelemetry import trace

from services import transports
from services.behaviour import Behaviour
from services.clock import WallClock, wheres
from services.control import Channel, open_channel
from services.death import ORPHANED
from services.errors import CannotStart
from services.ports import Address, Listener, Transport
from services.scenario.model import Protocol, Scenario
from services.scenario.parse import parse_text
from services.scenario.refactors import apply
from services.telemetry.lean import LeanTelemetry, NullTelemetry
from services.telemetry.pipeline import Pipeline, resource_attributes
from services.telemetry.tracer import SlimTracerProvider
from services.topology import Topology, topology
from services.transports.site import Broker, Counters, Hooks, Site
from services.vitals import Heartbeat, Pauses, cpu_ns

if TYPE_CHECKING:
    from services.telemetry.official import OfficialPipeline

BROKEN = 5


@dataclass(frozen=True, slots=True)
class Job:
    """What all processes of one round share."""

    scenario: Scenario
    topology: Topology
    variant: str
    seed: int
    """The round's."""
    round: str
    """Names the round on the broker."""
    instrumentation: str
    tracing: bool
    unix_offset_ns: int
    """Added to this host's monotonic time for Unix time: one value for all processes."""
    traces: str
    """Where spans go: ``HOST:PORT`` of OTLP/gRPC."""
    metrics: str
    """The same for metrics."""
    broker: Broker | None
    host: str
    listen_all: bool
    """Listen for HTTP and gRPC although no edge of the scenario comes that way."""


def read_job(document: Mapping[str, Any]) -> Job:
    """A round's job from ``POST /start``. Raises BadInput for a scenario that is none."""
    settings, endpoints = document["settings"], document["endpoints"]
    if settings["instrumentation"] == "official":
        _official()
    scenario = apply(parse_text(document["source"]), document["variant"])
    broker = endpoints["broker"]
    # A bench on another host cannot know it.
    offset_ns = settings["unix_offset_ns"]
    return Job(
        scenario=scenario,
        topology=topology(scenario),
        variant=document["variant"],
        seed=settings["seed"],
        round=settings["round"],
        instrumentation=settings["instrumentation"],
        tracing=settings["tracing"],
        unix_offset_ns=time.time_ns() - time.monotonic_ns() if offset_ns is None else offset_ns,
        traces=endpoints["traces"],
        metrics=endpoints["metrics"],
        broker=None if broker is None else Broker(broker["address"], broker["kind"]),
        host=settings["host"],
        listen_all=settings["listen_all"],
    )


def run_service(job: Job, service: str, replica: int, control: int) -> int:
    """Run one replica until its node says stop; the exit code. ``control`` is a socket's fd."""
    # Ctrl-C reaches the whole terminal; ending a round is the bench's to decide.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_live(job, service, replica, socket.socket(fileno=control)))


async def _live(job: Job, service: str, replica: int, control: socket.socket) -> int:
    channel = await open_channel(control)
    process = Process(job, service, replica)
    try:
        ready = await process.listen()
    except CannotStart as error:
        text = _text(error, f"{service}/{replica}")
        await channel.send({"error": text, "hint": error.hint})
        return BROKEN
    await channel.send({"ready": ready})
    await _obey(process, channel)
    return 0


def _text(error: CannotStart, name: str) -> str:
    """For the node, which puts ``name`` before it."""
    return error.text if error.part == name else f"{error.part}: {error.text}"


async def _obey(process: Process, channel: Channel) -> None:
    while (message := await channel.receive()) is not None:
        match message["do"]:
            case "connect":
                try:
                    await process.connect(message["directory"])
                except CannotStart as error:
                    await channel.answer(message, {"error": _text(error, process.name)})
                    continue
                await channel.answer(message, {})
            case "begin":
                # Another host's bench names Unix times.
                ahead_ns = process.unix_offset_ns if message["clock"] == "unix" else 0
                await process.begin(
                    message["start_ns"] - ahead_ns, message["measured_from_ns"] - ahead_ns
                )
                await channel.answer(message, {})
            case "counters":
                await channel.answer(message, process.report())
            case "stop":
                await process.stop(message["grace_ns"])
                await channel.answer(message, process.report())
                return
    # The node is gone: nobody is left to report to.
    os._exit(ORPHANED)


class Process:
    """The parts of one service process, put together in a running loop."""

    def __init__(self, job: Job, service: str, replica: int) -> None:
        self._job = job
        self._service = service
        self._replica = replica
        self._clock = WallClock()
        loop = asyncio.get_running_loop()
        self._heartbeat = Heartbeat(loop)
        self._pauses = Pauses()
        self._telemetry, self._pipeline, hooks = instruments(job, service, replica, self._clock)
        self._counters = Counters()
        self._site = Site(
            service=service,
            replica=replica,
            replicas=job.scenario.services[service].replicas,
            topology=job.topology,
            counters=self._counters,
            broker=job.broker,
            round=job.round,
            hooks=hooks,
            host=job.host,
        )
        self._listeners: dict[Protocol, Listener] = {}
        self._transports: dict[Protocol, Transport] = {
            protocol: transports.client(protocol, self._site)
            for protocol in transports.TRANSPORTS
            if any(True for _ in self._site.outgoing(protocol))
        }
        self._behaviour = Behaviour(
            job.scenario,
            service,
            replica,
            topology=job.topology,
            clock=self._clock,
            telemetry=self._telemetry,
            transports=self._transports,
            round_seed=job.seed,
        )
        self._cpu_before_ns = 0
        self._watch: asyncio.Task[None] | None = None

    @property
    def unix_offset_ns(self) -> int:
        return self._job.unix_offset_ns

    @property
    def tracer_provider(self) -> trace.TracerProvider:
        """What user code and other people's instrumentations open spans with."""
        if isinstance(self._pipeline, Pipeline):
            return SlimTracerProvider(self._telemetry)
        return self._pipeline.provider

    @property
    def name(self) -> str:
        return self._site.peer

    async def listen(self) -> dict[str, Any]:
        """Open every listener that this service needs; where they are. Raises CannotStart."""
        await self._clock.start(wheres(self._job.scenario, self._service))
        if self._clock.worker_pids:
            self._watch = asyncio.create_task(self._end_with_workers())
        await self._pipeline.start()
        if self._job.tracing:
            trace.set_tracer_provider(self.tracer_provider)
        ports: dict[Protocol, int | None] = {}
        for protocol in self._needed():
            listener = self._listeners[protocol] = transports.listener(protocol, self._site)
            ports[protocol] = await listener.start(self._behaviour.handle)
        self._pauses.watch()
        return {
            "host": self._job.host,
            "http_port": ports.get("http"),
            "grpc_port": ports.get("grpc"),
        }

    async def connect(self, directory: Mapping[str, Any]) -> None:
        """Open connections to every callee. Raises CannotStart."""
        addresses = {
            service: tuple(Address(**address) for address in replicas)
            for service, replicas in directory.items()
        }
        try:
            async with asyncio.TaskGroup() as group:
                for transport in self._transports.values():
                    group.create_task(transport.connect(addresses))
        except* CannotStart as failures:
            raise failures.exceptions[0] from None
        # What exists now lives as long as the process; collections need not walk through it.
        gc.collect()
        gc.freeze()

    async def begin(self, start_ns: int, measured_from_ns: int) -> None:
        """The round begins: count from here on."""
        await self._clock.probe()
        self._behaviour.begin(start_ns, measured_from_ns)
        self._heartbeat.start()
        self._pauses.restart()
        self._cpu_before_ns = cpu_ns()

    async def stop(self, grace_ns: int) -> None:
        """Take nothing new, finish what is under way, send every span: each for ``grace_ns``."""
        self._heartbeat.stop()
        if self._watch is not None:
            self._watch.cancel()
        await asyncio.gather(*(one.stop(grace_ns) for one in self._listeners.values()))
        await asyncio.gather(*(one.close() for one in self._transports.values()))
        if not await self._pipeline.flush(grace_ns / 1e9):
            self._counters.doubt(
                "export", f"{self._site.peer}: what takes its telemetry took too long"
            )
        await self._pipeline.close()
        await self._clock.close()

    async def _end_with_workers(self) -> None:
        """A service that has lost a worker is another service: its round is over."""
        print(await self._clock.worker_lost(), file=sys.stderr, flush=True)
        os._exit(BROKEN)

    def report(self) -> dict[str, Any]:
        """The fields of a ProcessReport, as they are now."""
        counted = self._behaviour.counters
        return {
            "service": self._service,
            "replica": self._replica,
            "pid": os.getpid(),
            "cpu_ns": cpu_ns() - self._cpu_before_ns,
            "handled": counted.handled,
            "open_handlers": counted.open_handlers,
            "spans_ended": self._pipeline.spans_ended,
            "produced": dict(self._counters.produced),
            "consumed": dict(self._counters.consumed),
            "redelivered": dict(self._counters.redelivered),
            "unacknowledged": dict(self._counters.unacknowledged),
            "broker_gaps_unix_ns": [
                [self._unix_ns(gap.from_ns), self._unix_ns(gap.to_ns)]
                for gap in self._counters.gaps
            ],
            "sleep_bias_ns": dict(self._clock.sleep_bias.summary()),
            "cpu_bias_ns": dict(self._clock.cpu_bias.summary()),
            "loop_lag_ns": self._heartbeat.lag_ns(),
            "gc_pauses": self._pauses.report(),
            "retries": counted.retries,
            "timeouts": counted.timeouts,
            "errors": counted.errors,
            "faults_fired": counted.faults_fired,
            "doubts": [*self._clock.doubts, *self._counters.doubts],
        }

    def _unix_ns(self, monotonic_ns: int | None) -> int | None:
        return None if monotonic_ns is None else monotonic_ns + self._job.unix_offset_ns

    def _needed(self) -> list[Protocol]:
        entries = {
            entry.protocol
            for entry in self._job.scenario.load.entries
            if entry.target.service == self._service
        }
        # HTTP is always there: it is how the node asks whether the process is alive.
        return [
            protocol
            for protocol in transports.TRANSPORTS
            if protocol == "http"
            or protocol in entries
            or (self._job.listen_all and protocol != "kafka")
            or any(True for _ in self._site.incoming(protocol))
        ]


def instruments(
    job: Job, service: str, replica: int, clock: WallClock
) -> tuple[LeanTelemetry, Pipeline | OfficialPipeline, Hooks]:
    """What sees the hops, what sends them on, and what hangs into the transports' libraries."""
    traces, metrics = f"http://{job.traces}", f"http://{job.metrics}"
    resource = resource_attributes(service, replica, job.variant, job.instrumentation)
    if job.tracing and job.instrumentation == "official":
        found: tuple[LeanTelemetry, OfficialPipeline, Hooks] = _official().official(
            job.topology,
            service,
            replica,
            clock,
            endpoint=traces,
            metrics_endpoint=metrics,
            resource=resource,
            offset_ns=job.unix_offset_ns,
        )
        return found
    kind = LeanTelemetry if job.tracing else NullTelemetry
    seen = kind(job.topology, service, replica, clock)
    pipeline = Pipeline(
        seen,
        traces,
        resource,
        metrics_endpoint=metrics,
        spans=job.tracing,
        offset_ns=job.unix_offset_ns,
    )
    return seen, pipeline, Hooks()


def _official() -> ModuleType:
    """Imported only where it is asked for: the instrumentations cost every process 5 MB."""
    return importlib.import_module("services.telemetry.official")
