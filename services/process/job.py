"""A round's job: what a node is told to run, and what its fork server makes of it.

Written by the bench, sent to each node with its own part (``POST /start``), read once by the node's
fork server for all processes that it forks.
"""

from __future__ import annotations

import importlib
import time
from dataclasses import dataclass

from services.scenario.file.parser import parse_text
from services.scenario.model import Scenario
from services.scenario.packing import Pack
from services.scenario.refactors import apply
from services.transports.site import Broker
from services.wire.topology import Topology, topology


@dataclass(frozen=True, slots=True)
class Job:
    source: str
    """The resolved base of the scenario, as YAML."""
    variant: str
    packs: tuple[Pack, ...]
    """The processes that this node runs."""
    seed: int
    """The round's."""
    round: str
    """Names the round on the broker: Kafka's topics outlive it, and a real broker's outlive a
    run."""
    instrumentation: str
    tracing: bool
    traces: str
    """Where spans go: ``HOST:PORT`` of OTLP/gRPC."""
    metrics: str
    """The same for metrics."""
    broker: Broker | None
    unix_offset_ns: int | None
    """Added to the host's monotonic time for Unix time: one value for all processes of a host.
    None: the bench is on another host and cannot know it."""
    logs: str | None
    """The directory for logs; None: the node keeps them, and sends their ends with the last
    reports."""
    host: str = "127.0.0.1"
    """What processes listen on."""
    listen_all: bool = False
    """Listen for HTTP and gRPC although no edge of the scenario comes that way."""
    lease_ns: int | None = None
    """Without a call from the bench for so long the node ends what it runs; None: it never does."""


@dataclass(frozen=True, slots=True)
class Work:
    """A job as its processes see it: scenario and numbering worked out once."""

    job: Job
    scenario: Scenario
    """The variant's."""
    topology: Topology
    unix_offset_ns: int


def work(job: Job) -> Work:
    """Raises BadInput for a scenario that is none."""
    if job.instrumentation == "official":
        # Only where it is asked for: the instrumentations cost every process 5 MB.
        importlib.import_module("services.telemetry.official.telemetry")
    scenario = apply(parse_text(job.source), job.variant)
    given = job.unix_offset_ns
    return Work(
        job=job,
        scenario=scenario,
        topology=topology(scenario),
        unix_offset_ns=time.time_ns() - time.monotonic_ns() if given is None else given,
    )
