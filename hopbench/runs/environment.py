"""What a number from this machine depends on, captured before a run (MEASUREMENT.md, step 1)."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from shutil import which
from subprocess import DEVNULL, PIPE, SubprocessError, run
from typing import Any, Final

import psutil
import uvloop

from hopbench.engines.port import BrokerKind, Settings
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


def environment(
    settings: Settings,
    seed: int,
    broker_kind: BrokerKind | None,
    clients: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The document ``environment.json``. ``clients``, where not given, are the settings of every
    client and server of the transports; in virtual time there are none.

    ``load`` and ``steal`` are of the moment before the run; each round has its own shares.
    """
    return {
        **machine(),
        "libraries": versions(),
        "code": code_version(),
        "seed": seed,
        "engine": settings.engine,
        "instrumentation": settings.instrumentation,
        "tracing": settings.tracing,
        "trace_ratio": settings.trace_ratio,
        "broker": broker_kind,
        "broker_address": None if settings.broker == "embedded" else settings.broker,
        "clients": dict(clients or _clients(settings, broker_kind)),
    }


def _clients(settings: Settings, broker_kind: BrokerKind | None) -> Mapping[str, Any]:
    if settings.engine == "virtual":
        return {}
    return transports.settings("kafka" if broker_kind == "kafka" else "embedded")


def machine() -> dict[str, Any]:
    """The host and the interpreter."""
    return {
        "cpu_model": cpu_model(),
        "cores": os.cpu_count(),
        "affinity": affinity(),
        "load": list(os.getloadavg()),
        "steal_since_boot": steal_since_boot(),
        "memory_bytes": psutil.virtual_memory().total,
        "platform": platform.system(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "loop": f"{uvloop.Loop.__module__}.{uvloop.Loop.__qualname__}",
    }


def cpu_model() -> str | None:
    """As the kernel names it; None where it does not."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or None
    for line in text.splitlines():
        if line.startswith(("model name", "Model")):
            return line.partition(":")[2].strip()
    return platform.machine()


def affinity() -> list[int]:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def steal_since_boot() -> float | None:
    """Share of all CPU time since boot that the hypervisor gave to others; None if not told."""
    times = psutil.cpu_times()
    steal: float | None = getattr(times, "steal", None)
    return None if steal is None else steal / max(sum(times[:8]), 1e-9)


def versions() -> dict[str, str | None]:
    """Of :data:`LIBRARIES`; None for one that is not installed."""
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
