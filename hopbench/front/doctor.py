"""``hopbench doctor``: whether this machine can measure, and what to do if not.

Each check looks at one thing and returns what it found; nothing outside this host is asked.
"""

from __future__ import annotations

import asyncio
import os
import platform
import resource
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import metadata
from shutil import which
from statistics import median
from subprocess import DEVNULL, TimeoutExpired, run
from time import monotonic_ns
from typing import Any, Final

import psutil
import uvloop

from hopbench.host.cores import ENOUGH
from hopbench.host.load import shares, snapshot
from hopbench.host.machine import cpu_model
from hopbench.host.ports import taken
from hopbench.jaeger import client as jaeger
from hopbench.runs.limits import Limits
from services.clocks.wall import WallClock
from services.errors import CannotStart
from services.system.cores import usable_cores
from services.system.endpoints import Endpoint, silence

SCHEMA: Final = "hopbench.doctor/1"
MEMORY_BYTES: Final = 2_000_000_000
"""Twelve services at 80 MB, broker, collector, Locust and the analysis of a round."""
OPEN_FILES: Final = 4096
_WATCH_S: Final = 1.0
_PROBES: Final = 100
_PROBE_S: Final = 0.0014
"""Not a whole millisecond, which is where timers that round are right."""
_BIAS_MS: Final = 0.5
_BOUND_S: Final = 3.0


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at. ``needed`` says whether measuring on this machine hangs on it."""

    name: str
    ok: bool
    found: str
    advice: str | None = None
    needed: bool = True


def doctor() -> tuple[Check, ...]:
    """Every check, in the order of :data:`CHECKS`. Takes about two seconds."""
    return tuple(check for look in CHECKS for check in look())


def healthy(checks: tuple[Check, ...]) -> bool:
    """Whether everything that is needed is well."""
    return all(check.ok for check in checks if check.needed)


def document(checks: tuple[Check, ...]) -> dict[str, Any]:
    """``hopbench.doctor/1``."""
    return {
        "schema": SCHEMA,
        "healthy": healthy(checks),
        "checks": [asdict(check) for check in checks],
    }


def _platform() -> tuple[Check, ...]:
    found = f"{platform.system()} {platform.release()}, {cpu_model()}"
    if platform.system() == "Linux":
        return (Check("platform", True, found),)
    return (
        Check(
            "platform",
            False,
            found,
            "measure on Linux: here are no absolute timers, parent-death signals or affinity",
        ),
    )


def _python() -> tuple[Check, ...]:
    found = (
        f"{platform.python_implementation()} {platform.python_version()}, "
        f"uvloop {metadata.version('uvloop')}"
    )
    if sys.gettrace() is None:
        return (Check("python", True, found),)
    return (Check("python", False, found, "a debugger or coverage traces this interpreter"),)


def _cores() -> tuple[Check, ...]:
    usable, whole = len(usable_cores()), os.cpu_count() or 1
    found = f"{usable} of {whole} cores"
    if usable >= ENOUGH:
        return (Check("cores", True, found),)
    return (
        Check(
            "cores",
            False,
            found,
            f"with {ENOUGH} or more, generator, services and broker get cores of their own; "
            "until then rounds carry the doubt cores_shared",
            needed=False,
        ),
    )


def _host() -> tuple[Check, ...]:
    """CPU that others use, and that the hypervisor takes, while we only wait and time waits."""
    before = snapshot(monotonic_ns())
    biases = _biases()
    after = snapshot(monotonic_ns())
    timers = _timers(*biases)
    if before is None or after is None:
        unknown = Check(
            "cpu",
            False,
            "this platform does not tell",
            "see that nothing runs beside",
            needed=False,
        )
        return (unknown, timers)
    limits, cores = Limits(), os.cpu_count() or 1
    found = shares(before, after, cores)
    steal, foreign = found.steal or 0.0, found.foreign or 0.0
    return (
        Check(
            "steal",
            steal <= limits.steal_share,
            f"{steal:.1%} of the CPU time was taken by the hypervisor",
            None
            if steal <= limits.steal_share
            else f"above {limits.steal_share:.0%} rounds are void: use a machine of your own",
        ),
        Check(
            "foreign cpu",
            foreign <= limits.foreign_cpu_share,
            f"{foreign:.1%} of the CPU time went to other processes",
            None
            if foreign <= limits.foreign_cpu_share
            else f"above {limits.foreign_cpu_share:.0%} rounds are void: close what runs beside",
        ),
        timers,
    )


def _biases() -> tuple[float, float]:
    """Median ms by which a short wait is off: the loop's own timer, and our clock."""

    async def probe() -> tuple[float, float]:
        clock = WallClock()
        await clock.start()
        loop_off: list[float] = []
        clock_off: list[float] = []
        until_ns = monotonic_ns() + int(_WATCH_S * 1e9)
        try:
            while monotonic_ns() < until_ns or len(clock_off) < _PROBES:
                begun = monotonic_ns()
                await asyncio.sleep(_PROBE_S)
                loop_off.append(abs(monotonic_ns() - begun - _PROBE_S * 1e9) / 1e6)
                begun = monotonic_ns()
                await clock.sleep(int(_PROBE_S * 1e9))
                clock_off.append(abs(monotonic_ns() - begun - _PROBE_S * 1e9) / 1e6)
        finally:
            await clock.close()
        return median(loop_off), median(clock_off)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(probe())


def _timers(loop_ms: float, clock_ms: float) -> Check:
    asked = f"waits of {_PROBE_S * 1e3:g} ms"
    found = f"{asked} are off by {clock_ms:.2f} ms (our clock), {loop_ms:.2f} ms (event loop)"
    if clock_ms <= _BIAS_MS:
        return Check("timers", True, found)
    return Check(
        "timers",
        False,
        found,
        "waits and arrivals will be late: the CPUs are busy, or sleep deeply",
    )


def _memory() -> tuple[Check, ...]:
    free = psutil.virtual_memory().available
    found = f"{free / 1e9:.1f} GB available"
    if free >= MEMORY_BYTES:
        return (Check("memory", True, found),)
    return (Check("memory", False, found, f"{MEMORY_BYTES / 1e9:g} GB are enough for 12 services"),)


def _files() -> tuple[Check, ...]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    found = f"{soft} open files a process"
    if soft >= OPEN_FILES:
        return (Check("open files", True, found),)
    return (Check("open files", False, found, f"ulimit -n {min(OPEN_FILES, hard)}"),)


def _ports() -> tuple[Check, ...]:
    return tuple(
        Check(
            f"port {port}",
            (why := taken(port)) is None,
            "free" if why is None else why,
            None if why is None else f"end what has it, or use {flag}",
            needed=False,
        )
        for port, flag in (
            (4317, "collect --grpc-port"),
            (4318, "collect --http-port"),
            (8089, "another --web"),
        )
    )


def _docker() -> tuple[Check, ...]:
    advice = "needed for `docker compose up` and --engine compose alone: docs.docker.com/engine"
    program = which("docker")
    if program is None:
        return (Check("docker", False, "not installed", advice, needed=False),)
    try:
        told = run(
            [program, "version", "--format", "{{.Server.Version}}"],
            stdin=DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_BOUND_S,
        )
    except TimeoutExpired:
        return (Check("docker", False, "the daemon does not answer", advice, needed=False),)
    if told.returncode:
        why = (told.stderr.strip().splitlines() or ["the daemon does not answer"])[-1]
        return (Check("docker", False, why, advice, needed=False),)
    return (Check("docker", True, f"server {told.stdout.strip()}", needed=False),)


def _kafka() -> tuple[Check, ...]:
    at = Endpoint("127.0.0.1", 9092)
    why = asyncio.run(silence(at, _BOUND_S))
    if why is None:
        return (Check("kafka", True, f"something listens; --broker {at}", needed=False),)
    advice = "the embedded broker will do, and its figures are labelled so"
    return (Check("kafka", False, f"{at}: {why}", advice, needed=False),)


def _jaeger() -> tuple[Check, ...]:
    url = "http://127.0.0.1:16686"
    try:
        asyncio.run(jaeger.connected(jaeger.addresses(url)))
    except CannotStart as error:
        advice = "the embedded collector keeps the traces; " + (error.hint or "")
        return (Check("jaeger", False, error.text, advice, needed=False),)
    found = f"{url} answers, and takes spans on port {jaeger.OTLP_PORT}; --jaeger {url}"
    return (Check("jaeger", True, found, needed=False),)


CHECKS: Final[tuple[Callable[[], tuple[Check, ...]], ...]] = (
    _platform,
    _python,
    _cores,
    _host,
    _memory,
    _files,
    _ports,
    _docker,
    _kafka,
    _jaeger,
)
