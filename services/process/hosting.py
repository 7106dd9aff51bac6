"""One replica of one service in its process: listeners, transports, behaviour, telemetry."""

from __future__ import annotations

import asyncio
import importlib
from types import ModuleType
from typing import TYPE_CHECKING, Any

from opentelemetry import trace

from services import transports
from services.behaviour import Behaviour
from services.clocks.wall import WallClock
from services.errors import CannotStart
from services.process.job import Job
from services.scenario.model import Protocol
from services.telemetry.lean import LeanTelemetry, NullTelemetry
from services.telemetry.outlet import PACE, Outlet
from services.telemetry.pipeline import DEFAULT_PACE, Pipeline, resource_attributes
from services.telemetry.tracer import SlimTracerProvider
from services.transports.site import (
    PACKED_CONNECTIONS,
    WARM_CONNECTIONS,
    Counters,
    Hooks,
    Site,
)
from services.wire.ports import Directory, Listener, Transport

if TYPE_CHECKING:
    from services.telemetry.official.telemetry import OfficialPipeline


class Hosted:
    """Create it in a running loop; ``outlet`` where others share the process."""

    def __init__(
        self, job: Job, service: str, replica: int, clock: WallClock, outlet: Outlet | None
    ) -> None:
        self._job = job
        self.service = service
        self.replica = replica
        self._alone = outlet is None
        self._telemetry, self.pipeline, hooks = instruments(job, service, replica, clock, outlet)
        self.counters = Counters()
        self._site = Site(
            service=service,
            replica=replica,
            replicas=job.scenario.services[service].replicas,
            topology=job.topology,
            counters=self.counters,
            broker=job.broker,
            round=job.round,
            hooks=hooks,
            host=job.host,
            warm_connections=WARM_CONNECTIONS if self._alone else PACKED_CONNECTIONS,
        )
        self._listeners: dict[Protocol, Listener] = {}
        self._transports: dict[Protocol, Transport] = {
            protocol: transports.client(protocol, self._site)
            for protocol in transports.TRANSPORTS
            if any(True for _ in self._site.outgoing(protocol))
        }
        self.behaviour = Behaviour(
            job.scenario,
            service,
            replica,
            topology=job.topology,
            clock=clock,
            telemetry=self._telemetry,
            transports=self._transports,
            round_seed=job.seed,
        )

    @property
    def tracer_provider(self) -> trace.TracerProvider:
        """What user code and other people's instrumentations open spans with."""
        if isinstance(self.pipeline, Pipeline):
            return SlimTracerProvider(self._telemetry)
        return self.pipeline.provider

    @property
    def name(self) -> str:
        return self._site.peer

    async def listen(self) -> dict[str, Any]:
        """Open every listener that this service needs; where they are. Raises CannotStart."""
        await self.pipeline.start()
        ports: dict[Protocol, int | None] = {}
        for protocol in self._needed():
            listener = self._listeners[protocol] = transports.listener(protocol, self._site)
            ports[protocol] = await listener.start(self.behaviour.handle)
        return {
            "service": self.service,
            "replica": self.replica,
            "host": self._job.host,
            "http_port": ports.get("http"),
            "grpc_port": ports.get("grpc"),
        }

    async def connect(self, addresses: Directory) -> None:
        """Open connections to every callee. Raises CannotStart."""
        try:
            async with asyncio.TaskGroup() as group:
                for transport in self._transports.values():
                    group.create_task(transport.connect(addresses))
        except* CannotStart as failures:
            raise failures.exceptions[0] from None

    async def refuse(self, grace_ns: int) -> None:
        """Take nothing new, and finish what is under way, at most for ``grace_ns``."""
        await asyncio.gather(*(one.stop(grace_ns) for one in self._listeners.values()))

    async def disconnect(self) -> None:
        await asyncio.gather(*(one.close() for one in self._transports.values()))

    def report(self) -> dict[str, Any]:
        """What it counted: the fields of a ProcessReport that are not its process's."""
        counted = self.behaviour.counters
        return {
            "service": self.service,
            "replica": self.replica,
            "handled": counted.handled,
            "open_handlers": counted.open_handlers,
            "spans_ended": self.pipeline.spans_ended,
            "produced": dict(self.counters.produced),
            "consumed": dict(self.counters.consumed),
            "redelivered": dict(self.counters.redelivered),
            "unacknowledged": dict(self.counters.unacknowledged),
            "broker_gaps_unix_ns": [
                [self._unix_ns(gap.from_ns), self._unix_ns(gap.to_ns)] for gap in self.counters.gaps
            ],
            "retries": counted.retries,
            "timeouts": counted.timeouts,
            "errors": counted.errors,
            "faults_fired": counted.faults_fired,
        }

    def _unix_ns(self, monotonic_ns: int | None) -> int | None:
        return None if monotonic_ns is None else monotonic_ns + self._job.unix_offset_ns

    def _needed(self) -> list[Protocol]:
        entries = {
            entry.protocol
            for entry in self._job.scenario.load.entries
            if entry.target.service == self.service
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
    job: Job, service: str, replica: int, clock: WallClock, outlet: Outlet | None
) -> tuple[LeanTelemetry, Pipeline | OfficialPipeline, Hooks]:
    """What sees the hops, what sends them on, and what hangs into the transports' libraries."""
    traces, metrics = f"http://{job.traces}", f"http://{job.metrics}"
    resource = resource_attributes(service, replica, job.variant, job.instrumentation)
    sender = None if outlet is None else outlet.sender
    pace = DEFAULT_PACE if outlet is None else PACE
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
            spans=None if outlet is None else outlet.spans,
            sender=sender,
            pace=pace,
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
        sender=sender,
        shared=sender is not None,
        pace=pace,
    )
    return seen, pipeline, Hooks()


def _official() -> ModuleType:
    return importlib.import_module("services.telemetry.official.telemetry")
