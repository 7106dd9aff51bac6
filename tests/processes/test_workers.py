"""A round whose load several Locust workers share, on real processes."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest

from hopbench.engines.wall.generator import LocalGenerator, start_generator
from loadgen.plan import Plan
from loadgen.schedule import arrivals
from loadgen.spool.reader import merged, read
from services.errors import CannotStart
from services.scenario.file.parser import parse_text
from services.wire.ports import Address
from tests.processes.conftest import plan, settings
from tests.processes.test_round import alive, handled, run

pytestmark = pytest.mark.slow

WORKERS = 3


def samples(trial: Path) -> Any:
    return merged([read(spool) for spool in trial.glob("samples*.spool")])


def test_the_samples_of_all_workers_are_the_schedule_of_one_generator(trial: Path) -> None:
    chosen, planned = settings(workers=WORKERS), plan()
    evidence = run(chosen, planned, trial)
    assert (evidence.broken, evidence.undrained) == (None, None)
    names = [f"samples-{number}.spool" for number in range(WORKERS)]
    assert sorted(spool.name for spool in trial.glob("samples*.spool")) == names
    alone = arrivals(
        planned.scenario.load,
        planned.seed,
        trace_ratio=chosen.trace_ratio,
        trace_salt=planned.trace_salt,
    )
    found = samples(trial)
    assert found["seq"].tolist() == alone.number.tolist()
    assert found["intended_ns"].tolist() == (alone.offset_ns + evidence.start_ns).tolist()
    assert found["entry"].tolist() == alone.entry.tolist()
    assert found["sampled"].tolist() == alone.sampled.astype(int).tolist()
    assert found["trace_hi"].tolist() == alone.trace_hi.tolist()
    assert found["trace_lo"].tolist() == alone.trace_lo.tolist()
    assert found["worker"].tolist() == (alone.number % WORKERS).tolist()
    assert handled(evidence)["order"] == len(alone)
    expected = sum(process.spans_ended for process in evidence.processes)
    assert evidence.spans_received == expected > 0


def test_a_master_and_its_workers_are_the_locust_of_the_round_and_end_with_it(trial: Path) -> None:
    evidence = run(settings(workers=2), plan(), trial)
    assert len(set(evidence.locust_pids)) == 3
    assert not [pid for pid in evidence.locust_pids if alive(pid)]
    logs = {log.name for log in (trial / "logs").glob("locust*.log")}
    assert logs == {"locust.log", "locust-worker-0.log", "locust-worker-1.log"}
    for log in logs:
        text = (trial / "logs" / log).read_text()
        assert "Traceback" not in text
        assert "ERROR" not in text
    # Of one core, the busiest worker's.
    assert evidence.host.generator_cpu_share is not None
    assert 0 < evidence.host.generator_cpu_share < 1


def started(directory: Path, workers: int) -> Any:
    """A generator of this host for a callee that is not there yet: it cannot be ready."""
    source = """
version: 1
name: alone
services: {shop: {operations: {buy: [{sleep: 1ms}]}}}
load: {rate: 50/s, duration: 5s, warmup: 0s, entry: shop.buy}
"""
    asked = Plan.from_scenario(
        parse_text(source),
        7,
        {"shop": (Address("127.0.0.1", {"http": 1, "grpc": 1}),)},
        samples=directory / "samples.spool",
    )
    path = directory / "plan.json"
    asked.write(path)
    return start_generator(path, directory / "locust.log", None, workers)


def test_an_entry_that_does_not_answer_is_told_with_a_worker(tmp_path: Path) -> None:
    async def once() -> tuple[int, ...]:
        generator: LocalGenerator = await started(tmp_path, 2)
        try:
            with pytest.raises(CannotStart, match=r"worker \d: .*shop"):
                await generator.ready()
            return generator.pids
        finally:
            await generator.stop()

    assert not [pid for pid in asyncio.run(once()) if psutil.pid_exists(pid)]


def test_a_worker_that_cannot_start_leaves_neither_master_nor_workers(tmp_path: Path) -> None:
    (tmp_path / "locust-worker-1.log").mkdir()

    async def once() -> None:
        with pytest.raises(IsADirectoryError):
            await started(tmp_path, 2)
        # Ended, and waited for: a zombie would still be a child.
        assert psutil.Process().children(recursive=True) == []

    asyncio.run(once())


def test_a_worker_that_dies_while_it_starts_is_told_by_its_number(tmp_path: Path) -> None:
    async def once() -> CannotStart:
        generator: LocalGenerator = await started(tmp_path, 2)
        try:
            os.kill(generator.pids[2], signal.SIGKILL)
            with pytest.raises(CannotStart) as caught:
                await generator.ready()
            return caught.value
        finally:
            await generator.stop()

    assert asyncio.run(once()).text == "worker 1 died (SIGKILL)"
    assert not (tmp_path / "samples-1.spool").exists()
