"""Parts that die in a round, rounds that are stopped, and the death of the bench itself."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from hopbench.collector.spool import read_spool
from hopbench.engines.local.engine import LocalEngine
from hopbench.engines.port import Evidence, RoundPlan
from hopbench.engines.wall.trace_stores import spooled
from loadgen.spool.reader import read as read_samples
from services.errors import CannotStart
from tests.processes.conftest import EVENTS, SCENARIO, plan, settings
from tests.titles import title

LONG = SCENARIO.replace("duration: 600ms", "duration: 60s")
LONG_EVENTS = EVENTS.replace("duration: 600ms", "duration: 60s")


def ours() -> dict[int, str]:
    """Every process below this one, by pid, with its command line."""
    below = psutil.Process().children(recursive=True)
    return {child.pid: line for child in below if (line := title(child))}


def pid_of(part: str) -> int:
    (pid,) = [pid for pid, line in ours().items() if part in line]
    return pid


def run(
    planned: RoundPlan, directory: Path, when: str, act: Callable[[asyncio.Task[Evidence]], object]
) -> Evidence:
    """A round in which ``act`` is done once, when the phase ``when`` is first told of."""

    async def once() -> Evidence:
        engine = LocalEngine(settings())
        done = False

        def progress(phase: str, share: float) -> None:
            nonlocal done
            if phase == when and not done and (phase != "measured" or share > 0.03):
                done = True
                act(task)

        try:
            await engine.open((planned.scenario,), directory.parent)
            task = asyncio.create_task(engine.round(planned, directory, progress))
            return await task
        finally:
            await engine.close()

    return asyncio.run(once())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "part", "told"),
    [
        (LONG, "hopbench: inventory/0", "inventory/0 died (SIGKILL)"),
        (LONG, "hopbench: collector", "collector died (SIGKILL)"),
        (LONG, "hopbench: fork server", "fork server: SIGKILL"),
        (LONG, "hopbench: node", "node died (SIGKILL)"),
        (LONG, "locust", "locust: died (SIGKILL)"),
        (LONG_EVENTS, "hopbench: broker", "SIGKILL"),
    ],
)
def test_a_part_that_dies_ends_the_round_and_is_named_and_what_was_measured_stays(
    trial: Path, source: str, part: str, told: str
) -> None:
    evidence = run(plan(source), trial, "measured", lambda _: os.kill(pid_of(part), signal.SIGKILL))
    assert evidence.broken is not None
    assert told in evidence.broken
    assert len(read_samples(trial / "samples.spool").records) > 0
    assert evidence.spans_received == spooled(trial / "traces.otlp") > 0
    assert ours() == {}


@pytest.mark.slow
def test_a_service_ends_with_a_worker_of_its_own(trial: Path) -> None:
    def kill_a_worker(_: object) -> None:
        worker = next(pid for pid, line in ours().items() if line.endswith("cpu.py"))
        os.kill(worker, signal.SIGKILL)

    source = LONG.replace("work: 0.1ms", "work: {cpu: 0.1ms, where: process}")
    evidence = run(plan(source), trial, "measured", kill_a_worker)
    assert evidence.broken is not None
    assert "died (exit 5)" in evidence.broken
    assert "worker process" in evidence.broken
    assert ours() == {}


@pytest.mark.slow
@pytest.mark.parametrize("phase", ["start", "warmup", "measured", "drain"])
def test_a_round_that_is_cancelled_leaves_no_process_and_keeps_its_spools(
    trial: Path, phase: str
) -> None:
    source = SCENARIO if phase == "drain" else LONG
    with pytest.raises(asyncio.CancelledError):
        run(plan(source), trial, phase, lambda task: task.cancel())
    assert ours() == {}
    if phase in ("measured", "drain"):
        assert len(read_samples(trial / "samples.spool").records) > 0
        assert list(read_spool(trial / "traces.otlp"))


BENCH = """
import asyncio, json, sys
from pathlib import Path
import psutil
from hopbench.engines.local.engine import LocalEngine
from tests.processes.conftest import plan, settings

async def main(source, directory):
    engine = LocalEngine(settings())
    planned = plan(source)
    told = False
    def progress(phase, share):
        nonlocal told
        if phase == "measured" and not told:
            told = True
            below = psutil.Process().children(recursive=True)
            print(json.dumps({child.pid: " ".join(child.cmdline()) for child in below}), flush=True)
    await engine.open((planned.scenario,), directory.parent)
    await engine.round(planned, directory, progress)

asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
"""


@pytest.mark.slow
def test_when_the_bench_is_killed_everything_that_it_started_dies(trial: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", BENCH, LONG_EVENTS, str(trial)], stdout=subprocess.PIPE
    ) as bench:
        assert bench.stdout is not None
        started = {int(pid): line for pid, line in json.loads(bench.stdout.readline()).items()}
        watched = {os.pidfd_open(pid): line for pid, line in started.items()}
        bench.kill()
    parts = ("node", "fork server", "order/0", "notify/0", "collector", "broker")
    for part in parts:
        assert any(f"hopbench: {part}" in line for line in started.values()), part
    assert any("locust" in line for line in started.values())
    try:
        for fd, line in watched.items():
            # A pidfd becomes readable when its process has ended.
            assert select.select([fd], [], [], 10)[0], f"still there: {line}"
    finally:
        for fd in watched:
            os.close(fd)


def test_a_taken_web_port_is_told_before_anything_is_started(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        engine = LocalEngine(settings(web_port=port))
        with pytest.raises(CannotStart) as raised:
            asyncio.run(engine.open((plan().scenario,), tmp_path))
    assert f"port {port} is taken by pid {os.getpid()}" in str(raised.value)
    assert "--web" in str(raised.value)
    assert ours() == {}
