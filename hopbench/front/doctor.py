"""``hopbench doctor``: whether this machine can measure, and what to do if not.

Each check looks at one thing and returns what it found; nothing outside this host is asked.
"""

from __future__ import annotations

import asyncio
import os
import platform
import resource
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from shutil import which
from statistics import median
from subprocess import DEVNULL, TimeoutExpired, run
from time import monotonic_ns
from typing import Any, Final

import uvloop

from hopbench.comparison import ledger
from hopbench.host.awake import DEVICE, awake
from hopbench.host.cores import ENOUGH
from hopbench.host.load import shares, snapshot
from hopbench.host.machine import cpu_model
from hopbench.host.memory import available_mb
from hopbench.host.ports import taken
from hopbench.jaeger import client as jaeger
from hopbench.runs.directory import RUNS
from hopbench.runs.limits import Limits
from services.clocks.wall import WallClock
from services.errors import BadInput, CannotStart
from services.system.cores import usable_cores
from services.system.endpoints import Endpoint, silence

SCHEMA: Final = "hopbench.doctor/1"
MEMORY_MB: Final = 2_000
"""Twelve services at 80 MB, broker, collector, Locust and the analysis of a round."""
OPEN_FILES: Final = 4096
_WATCH_S: Final = 2.0
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


def _check(name: str, ok: bool, found: str, advice: str, *, needed: bool = True) -> Check:
    """``advice`` is for where it is not well."""
    return Check(name, ok, found, None if ok else advice, needed)


def _platform() -> Iterator[Check]:
    yield _check(
        "platform",
        platform.system() == "Linux",
        f"{platform.system()} {platform.release()}, {cpu_model()}",
        "measure on Linux: here are no absolute timers, parent-death signals or affinity",
    )


def _python() -> Iterator[Check]:
    yield _check(
        "python",
        sys.gettrace() is None,
        f"{platform.python_implementation()} {platform.python_version()}, "
        f"uvloop {metadata.version('uvloop')}",
        "a debugger or coverage traces this interpreter",
    )


def _cores() -> Iterator[Check]:
    usable = len(usable_cores())
    yield _check(
        "cores",
        usable >= ENOUGH,
        f"{usable} of {os.cpu_count() or 1} cores",
        f"with {ENOUGH} or more, generator, services and broker get cores of their own; "
        "until then rounds carry the doubt cores_shared",
        needed=False,
    )


def _host() -> Iterator[Check]:
    """CPU that others use, and that the hypervisor takes, while we only wait and time waits."""
    before = snapshot(monotonic_ns())
    with awake():  # as in a round
        loop_ms, clock_ms, late_ms = _biases()
    after = snapshot(monotonic_ns())
    if before is None or after is None:
        unknown, beside = "this platform does not tell", "see that nothing runs beside"
        yield Check("cpu", False, unknown, beside, needed=False)
    else:
        found, limits = shares(before, after, os.cpu_count() or 1), Limits()
        steal, foreign = found.steal or 0.0, found.foreign or 0.0
        yield _check(
            "steal",
            steal <= limits.steal_share,
            f"{steal:.1%} of the CPU time was taken by the hypervisor",
            f"above {limits.steal_share:.0%} rounds are void: use a machine of your own",
        )
        yield _check(
            "foreign cpu",
            foreign <= limits.foreign_cpu_share,
            f"{foreign:.1%} of the CPU time went to other processes",
            f"above {limits.foreign_cpu_share:.0%} rounds are void: close what runs beside",
        )
    yield _check(
        "timers",
        clock_ms <= _BIAS_MS,
        f"waits of {_PROBE_S * 1e3:g} ms are off by {clock_ms:.2f} ms (our clock), "
        f"{loop_ms:.2f} ms (event loop)",
        "waits and arrivals will be late: the CPUs are busy, or sleep deeply; "
        f"let hopbench write to {DEVICE}, and they stay awake in a round",
    )
    yield _check(
        "stalls",
        late_ms <= Limits().lag_p99_ms,
        f"one wait in a hundred is late by {late_ms:.2f} ms or more, with nothing beside it",
        f"above {Limits().lag_p99_ms:g} ms rounds are void by lag: something else has the cores, "
        "in a virtual machine its host; another machine, or another hour",
    )


def _biases() -> tuple[float, float, float]:
    """Median ms by which a short wait is off: the loop's own timer, and our clock; and the P99 of
    our clock's."""

    async def probe() -> tuple[float, float, float]:
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
        late = sorted(clock_off)[int(0.99 * len(clock_off))]
        return median(loop_off), median(clock_off), late

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(probe())


def _memory() -> Iterator[Check]:
    free_mb = available_mb()
    yield _check(
        "memory",
        free_mb >= MEMORY_MB,
        f"{free_mb / 1e3:.1f} GB available",
        f"{MEMORY_MB / 1e3:g} GB are enough for 12 services",
    )


def _files() -> Iterator[Check]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield _check(
        "open files",
        soft >= OPEN_FILES,
        f"{soft} open files a process",
        f"ulimit -n {min(OPEN_FILES, hard)}",
    )


def _ports() -> Iterator[Check]:
    for port, flag in (
        (4317, "collect --grpc-port"),
        (4318, "collect --http-port"),
        (8089, "another --web"),
    ):
        why = taken(port)
        advice = f"end what has it, or use {flag}"
        yield _check(f"port {port}", why is None, why or "free", advice, needed=False)


def _docker() -> Iterator[Check]:
    found, ok = _docker_server()
    advice = "needed for `docker compose up` and --engine compose alone: docs.docker.com/engine"
    yield _check("docker", ok, found, advice, needed=False)


def _docker_server() -> tuple[str, bool]:
    """What was found, and whether it is well."""
    program = which("docker")
    if program is None:
        return "not installed", False
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
        return "the daemon does not answer", False
    except OSError as error:
        return f"{program} cannot be run: {error.strerror}", False
    if told.returncode:
        return (told.stderr.strip().splitlines() or ["the daemon does not answer"])[-1], False
    return f"server {told.stdout.strip()}", True


def _kafka() -> Iterator[Check]:
    at = Endpoint("127.0.0.1", 9092)
    why = asyncio.run(silence(at, _BOUND_S))
    found = f"something listens; --broker {at}" if why is None else f"{at}: {why}"
    advice = "the embedded broker will do, and its figures are labelled so"
    yield _check("kafka", why is None, found, advice, needed=False)


def _jaeger() -> Iterator[Check]:
    url = "http://127.0.0.1:16686"
    found = f"{url} answers, and takes spans on port {jaeger.OTLP_PORT}; --jaeger {url}"
    advice = "the embedded collector keeps the traces; "
    try:
        asyncio.run(jaeger.connected(jaeger.addresses(url)))
    except CannotStart as error:
        yield Check("jaeger", False, error.text, advice + (error.hint or ""), needed=False)
    else:
        yield Check("jaeger", True, found, needed=False)


def _ledger() -> Iterator[Check]:
    """Of the directory that the doctor was called in."""
    path = Path(RUNS) / ledger.FILE
    advice = "look at its comparisons of equals: hopbench compare SCENARIO --variants A,A"
    try:
        found = ledger.whole(path)
    except BadInput as error:
        yield Check("ledger", False, error.text, error.hint, needed=False)
        return
    if found is None:
        yield Check("ledger", True, "no comparison here yet (runs/ledger.parquet)", needed=False)
        return
    low, high = (100 * end for end in found.interval)
    text = (
        f"equals called different in {found.called} of {found.comparisons} comparisons "
        f"({low:.0f} to {high:.0f} %)"
    )
    yield _check("ledger", not found.too_often(ledger.ALPHA), text, advice, needed=False)


CHECKS: Final[tuple[Callable[[], Iterator[Check]], ...]] = (
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
    _ledger,
)
