"""What a number from this machine depends on, captured before each round.

docs/measurement.md, "How a round is measured", says why: figures of unlike environments are not
compared.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cache
from importlib import metadata
from pathlib import Path
from shutil import which
from subprocess import DEVNULL, PIPE, SubprocessError, run
from typing import Any, Final

import psutil
import uvloop

from hopbench.engines.port import BrokerKind, ClockName, Engine, Instrumentation, Settings
from hopbench.host.awake import waking_us
from hopbench.host.machine import cpu_model, steal_since_boot
from services import transports

LIBRARIES: Final = (
    "aiohttp",
    "aiokafka",
    "confluent-kafka",
    "grpcio",
    "locust",
    "numpy",
    "opentelemetry-exporter-otlp-proto-grpc",
    "opentelemetry-instrumentation-aiohttp-client",
    "opentelemetry-instrumentation-aiohttp-server",
    "opentelemetry-instrumentation-grpc",
    "opentelemetry-sdk",
    "orjson",
    "polars",
    "protobuf",
    "uvloop",
)
"""Those whose speed is part of what is measured, or that judge it."""


PASSING: Final = frozenset({"load", "steal_since_boot", "broker_address"})
"""Of the moment; no figure hangs on where a broker listens."""


@dataclass(frozen=True, slots=True)
class Environment:
    """``environment.json`` of a round, and of a run that of its first one."""

    host: str
    cpu_model: str | None
    cores: int | None
    affinity: tuple[int, ...]
    load: tuple[float, ...]
    """Load averages over 1, 5 and 15 minutes; each round has its own shares of the CPUs."""
    steal_since_boot: float | None
    memory_bytes: int
    platform: str
    kernel: str
    python: str
    implementation: str
    loop: str
    libraries: Mapping[str, str | None]
    """Versions of :data:`LIBRARIES`; None for one that is not installed."""
    code: str
    """``0.1.0`` of an installed package; of a checkout the commit, ``+`` where it was changed."""
    seed: int
    engine: str
    clock: ClockName
    instrumentation: Instrumentation
    tracing: bool
    trace_ratio: float
    broker: BrokerKind | None
    broker_address: str | None
    clients: Mapping[str, Any]
    """Settings of every client and server of the transports; in virtual time there are none."""
    waking_us: int | None = None
    """How long an idle core may take to wake up (hopbench/host/awake.py); None: not told."""

    def changes(self, since: Environment) -> tuple[str, ...]:
        """What is not as it was ``since``, for people; nothing of :data:`PASSING`."""
        return tuple(_changes(self, since))


def _changes(now: Environment, then: Environment) -> Iterator[str]:
    for name in (field.name for field in fields(Environment) if field.name not in PASSING):
        after, before = getattr(now, name), getattr(then, name)
        if name == "libraries":
            for library in sorted({*after, *before}):
                if after.get(library) != before.get(library):
                    yield f"{library} {before.get(library)} → {after.get(library)}"
        elif after != before:
            yield name if name == "clients" else f"{name} {before} → {after}"


def environment(
    settings: Settings, seed: int, engine: Engine, cores: frozenset[int]
) -> Environment:
    """Now, with ``engine`` open. ``cores`` are all that the bench could use before it was opened:
    an engine may keep the bench itself to one of them."""
    return Environment(
        host=platform.node(),
        cpu_model=cpu_model(),
        cores=os.cpu_count(),
        affinity=tuple(sorted(cores)),
        load=os.getloadavg(),
        steal_since_boot=steal_since_boot(),
        memory_bytes=psutil.virtual_memory().total,
        platform=platform.system(),
        kernel=platform.release(),
        python=platform.python_version(),
        implementation=platform.python_implementation(),
        loop=f"{uvloop.Loop.__module__}.{uvloop.Loop.__qualname__}",
        libraries=versions(),
        code=code_version(),
        seed=seed,
        engine=settings.engine,
        clock=engine.clock,
        instrumentation=settings.instrumentation,
        tracing=settings.tracing,
        trace_ratio=settings.trace_ratio,
        broker=engine.broker_kind,
        broker_address=engine.broker_address,
        clients=_clients(engine),
        waking_us=waking_us() if engine.clock == "wall" else None,
    )


def _clients(engine: Engine) -> Mapping[str, Any]:
    if engine.clock == "virtual":
        return {}
    return transports.settings("kafka" if engine.broker_kind == "kafka" else "embedded")


@cache
def versions() -> Mapping[str, str | None]:
    """Of :data:`LIBRARIES`; None for one that is not installed. They are looked up once, since a
    process keeps what it has loaded."""
    found: dict[str, str | None] = {}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def code_version() -> str:
    """``0.1.0`` of an installed package; of a checkout the commit, ``+`` where it was changed."""
    root = Path(__file__).resolve().parents[2]
    if (root / ".git").exists() and which("git"):
        try:
            told = run(
                ["git", "-C", str(root), "describe", "--always", "--dirty=+", "--abbrev=12"],
                stdout=PIPE,
                stderr=DEVNULL,
                check=True,
                text=True,
                timeout=5,
            )
            return told.stdout.strip()
        except SubprocessError:
            pass
    try:
        return metadata.version("hopbench")
    except metadata.PackageNotFoundError:
        return "unknown"
