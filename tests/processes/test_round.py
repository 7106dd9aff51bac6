"""A whole round on real processes, and the same one in virtual time."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from hopbench.engines import engine
from hopbench.engines.port import Evidence, RoundPlan, Settings
from loadgen.spool.reader import read as read_samples
from tests.processes.conftest import EVENTS, plan, settings


def run(chosen: Settings, planned: RoundPlan, directory: Path) -> Evidence:
    async def once() -> Evidence:
        running = engine(chosen)
        try:
            await running.open((planned.scenario,), directory.parent)
            return await running.round(planned, directory, lambda _phase, _share: None)
        finally:
            await running.close()

    return asyncio.run(once())


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def handled(evidence: Evidence) -> dict[str, int]:
    counts: dict[str, int] = {}
    for process in evidence.processes:
        counts[process.service] = counts.get(process.service, 0) + process.handled
    return counts


@pytest.mark.slow
@pytest.mark.parametrize("instrumentation", ["lean", "official"])
def test_a_round_ends_whole_and_leaves_no_process(trial: Path, instrumentation: str) -> None:
    evidence = run(settings(instrumentation=instrumentation), plan(), trial)
    assert (evidence.broken, evidence.undrained) == (None, None)
    expected = sum(process.spans_ended for process in evidence.processes)
    assert evidence.spans_received == expected > 0
    requests = handled(evidence)["order"]
    assert handled(evidence) == {
        "order": requests,
        "inventory": 3 * requests,
        "price": requests,
    }
    pids = [pid for of in evidence.service_pids.values() for pid in of]
    assert len(pids) == 4
    assert not [pid for pid in (*pids, *evidence.locust_pids) if alive(pid)]
    assert (trial / "logs" / "price-1.log").exists()


@pytest.mark.slow
def test_both_engines_make_the_same_calls_for_the_same_requests(tmp_path: Path) -> None:
    found = {}
    for name in ("local", "virtual"):
        directory = tmp_path / name / "trial"
        directory.mkdir(parents=True)
        evidence = run(settings(engine=name), plan(), directory)
        samples = read_samples(directory / "samples.spool")
        found[name] = (
            handled(evidence),
            evidence.spans_received,
            sorted(samples.records["seq"].tolist()),
            sorted(samples.records["trace_lo"].tolist()),
        )
    assert found["local"] == found["virtual"]


def test_virtual_rounds_are_equal_to_the_byte(tmp_path: Path) -> None:
    files: list[dict[str, bytes]] = []
    for name in ("a", "b"):
        directory = tmp_path / name / "trial"
        directory.mkdir(parents=True)
        run(settings(engine="virtual"), plan(), directory)
        files.append({path.name: path.read_bytes() for path in directory.iterdir()})
    assert files[0].keys() >= {"samples.spool", "traces.otlp", "metrics.otlp"}
    assert files[0] == files[1]


@pytest.mark.slow
def test_every_message_that_is_published_is_consumed_before_the_round_ends(trial: Path) -> None:
    evidence = run(settings(), plan(EVENTS), trial)
    assert (evidence.broken, evidence.undrained) == (None, None)
    assert handled(evidence)["notify"] == handled(evidence)["order"] > 0


@pytest.mark.slow
def test_without_tracing_there_are_metrics_and_no_spans(trial: Path) -> None:
    evidence = run(settings(tracing=False), plan(), trial)
    assert evidence.broken is None
    assert evidence.spans_received == 0
    assert (trial / "traces.otlp").stat().st_size == 0
    assert (trial / "metrics.otlp").stat().st_size > 0
