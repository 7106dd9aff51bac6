"""What all service processes of one round share: read once, by the fork server."""

from __future__ import annotations

import importlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.scenario.file.parser import parse_text
from services.scenario.model import Scenario
from services.scenario.refactors import apply
from services.transports.site import Broker
from services.wire.topology import Topology, topology


@dataclass(frozen=True, slots=True)
class Job:
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
        # Only where it is asked for: the instrumentations cost every process 5 MB.
        importlib.import_module("services.telemetry.official.telemetry")
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
