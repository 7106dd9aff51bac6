"""One replica of one service in its process: listeners, transports, behaviour, telemetry."""

from __future__ import annotations

import asyncio
import importlib
import os
from types import ModuleType
from typing import TYPE_CHECKING

from services import transports
from services.behaviour import Behaviour
from services.clocks.wall import WallClock
from services.errors import CannotStart
from services.process.job import Work
from services.process.orders import Listening
from services.process.vitals import Vitals
from services.report import ProcessReport
from services.scenario.model import Protocol
from services.scenario.protocols import PROTOCOLS
from services.telemetry.lean import LeanTelemetry, NullTelemetry
from services.telemetry.outlet import PACE, Outlet
from services.telemetry.pipeline import DEFAULT_PACE, Pipeline, resource_attributes
from services.telemetry.sender import Sender
from services.transports.site import (
    PACKED_CONNECTIONS,
    WARM_CONNECTIONS,
    Counters,
    Hooks,
    Site,
)
from services.wire.ports import Address, Directory, Listener, Transport

if TYPE_CHECKING:
    from services.telemetry.official.telemetry import OfficialPipeline


class Hosted:
    """Create it in a running loop; ``outlet`` where others share the process."""

    def __init__(
        self, work: Work, service: str, replica: int, clock: WallClock, outlet: Outlet | None
    ) -> None:
        job = work.job
        self._work = work
        self.service = service
        self.replica = replica
        self._alone = outlet is None
        self._telemetry, self.pipeline, hooks = instruments(work, service, replica, clock, outlet)
        self.counters = Counters()
        self._site = Site(
            service=service,
            replica=replica,
            replicas=work.scenario.services[service].replicas,
            topology=work.topology,
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
            for protocol in PROTOCOLS
            if any(True for _ in self._site.outgoing(protocol))
        }
        self.behaviour = Behaviour(
            work.scenario,
            service,
            replica,
            topology=work.topology,
            clock=clock,
            telemetry=self._telemetry,
            transports=self._transports,
            round_seed=job.seed,
        )

    @property
    def name(self) -> str:
        return self._site.peer

    async def listen(self) -> Listening:
        """Open every listener that this service needs. Raises CannotStart."""
        await self.pipeline.start()
        ports: dict[Protocol, int] = {}
        for protocol in self._needed():
            listener = self._listeners[protocol] = transports.listener(protocol, self._site)
            port = await listener.start(self.behaviour.handle)
            if port is not None:
                ports[protocol] = port
        return Listening(self.service, self.replica, Address(self._work.job.host, ports))

    async def connect(self, addresses: Directory) -> None:
        """Open connections to every callee. Raises CannotStart."""
        try:
            async with asyncio.TaskGroup() as group:
                for transport in self._transports.values():
                    group.create_task(transport.connect(addresses))
        except* CannotStart as failures:
            raise failures.exceptions[0] from None

    def begin(self, start_ns: int, measured_from_ns: int) -> None:
        """The round begins: both on this process's clock."""
        self.counters.origin_ns = measured_from_ns
        self.behaviour.begin(start_ns, measured_from_ns)

    async def refuse(self, grace_ns: int) -> None:
        """Take nothing new, and finish what is under way, at most for ``grace_ns``."""
        await asyncio.gather(*(one.stop(grace_ns) for one in self._listeners.values()))

    async def disconnect(self) -> None:
        await asyncio.gather(*(one.close() for one in self._transports.values()))

    def report(self, vitals: Vitals) -> ProcessReport:
        """What it counted, with the ``vitals`` of its process."""
        counted = self.behaviour.counters
        return ProcessReport(
            service=self.service,
            replica=self.replica,
            pid=os.getpid(),
            handled=counted.handled,
            open_handlers=counted.open_handlers,
            spans_ended=self.pipeline.spans_ended,
            retries=counted.retries,
            timeouts=counted.timeouts,
            errors=counted.errors,
            faults_fired=counted.faults_fired,
            messages=self.counters.messages(self._work.unix_offset_ns),
            cpu_ns=vitals.cpu_ns,
            sleep_bias_ns=vitals.sleep_bias_ns,
            cpu_bias_ns=vitals.cpu_bias_ns,
            loop_lag_ns=vitals.loop_lag_ns,
            collections=vitals.collections,
            doubts=(*vitals.doubts, *self.counters.doubts),
            flows=counted.told(),
        )

    def _needed(self) -> list[Protocol]:
        entries = {
            entry.protocol
            for entry in self._work.scenario.load.entries
            if entry.target.service == self.service
        }
        # HTTP is always there: it is how the node asks whether the process is alive.
        return [
            protocol
            for protocol in PROTOCOLS
            if protocol == "http"
            or protocol in entries
            or (self._work.job.listen_all and protocol != "kafka")
            or any(True for _ in self._site.incoming(protocol))
        ]


def instruments(
    work: Work, service: str, replica: int, clock: WallClock, outlet: Outlet | None
) -> tuple[LeanTelemetry, Pipeline | OfficialPipeline, Hooks]:
    """What sees the hops, what sends them on, and what hangs into the transports' libraries."""
    job = work.job
    resource = resource_attributes(service, replica, job.variant, job.instrumentation)
    sender, pace = (
        (Sender(job.traces, job.metrics), DEFAULT_PACE) if outlet is None else (outlet.sender, PACE)
    )
    shared = outlet is not None
    if job.tracing and job.instrumentation == "official":
        found: tuple[LeanTelemetry, OfficialPipeline, Hooks] = _official().official(
            work.topology,
            service,
            replica,
            clock,
            sender,
            resource=resource,
            spans=job.traces if outlet is None else outlet.spans,
            offset_ns=work.unix_offset_ns,
            pace=pace,
            shared=shared,
        )
        return found
    kind = LeanTelemetry if job.tracing else NullTelemetry
    seen = kind(work.topology, service, replica, clock)
    pipeline = Pipeline(
        seen,
        sender,
        resource,
        spans=job.tracing,
        offset_ns=work.unix_offset_ns,
        pace=pace,
        shared=shared,
    )
    return seen, pipeline, Hooks()


def _official() -> ModuleType:
    return importlib.import_module("services.telemetry.official.telemetry")
