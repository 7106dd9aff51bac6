"""A Locust worker, or its master, is killed while a round measures; Ctrl-C in each phase."""

from __future__ import annotations

import json
import os
import signal

import polars as pl
import pytest

from hopbench.exits import Exit
from tests.faults.harness import SLOW_TO_DRAIN, Phase, Site, alive, doubt, wait_for

pytestmark = pytest.mark.slow

KILLED = [
    ("locust: worker 1", "locust: worker 1 died (SIGKILL)"),
    ("locust: master", "locust: master died (SIGKILL)"),
]
PHASES: list[Phase] = ["starting", "warm-up", "measuring", "draining"]


def run(*more: str) -> tuple[str, ...]:
    return ("--variant", "baseline", "--workers", "2", "--out", "run", *more)


@pytest.mark.parametrize(("part", "told"), KILLED)
def test_one_that_is_killed_is_named_and_what_was_measured_is_kept(
    site: Site, part: str, told: str
) -> None:
    bench = site.start("run", site.scenario(), *run("--json", "-"))
    bench.until("measuring")
    recorded = bench.recorded()
    os.kill(bench.pid_of(part), signal.SIGKILL)
    ended = bench.end()
    assert ended.code == Exit.BROKEN
    assert f"baseline, round 1: {told}" in ended.err
    assert "Traceback" not in ended.err
    (trial,) = ended.document["trials"]
    assert told in doubt(trial, "broken")
    assert trial["void"]
    kept = pl.read_parquet(site.path / "run/trials/01-baseline/samples.parquet")
    assert kept.height >= recorded
    assert set(kept["worker"]) == {0, 1}

    resumed = site.run("run", "--resume", "run", "--json", "-")
    assert resumed.code == Exit.DONE
    (again,) = resumed.document["trials"]
    assert doubt(again, "broken") == ""
    assert doubt(again, "samples_mismatch") == ""
    assert len(again["locust_pids"]) == 3


def test_a_worker_that_stands_still_is_told(site: Site) -> None:
    bench = site.start("run", site.scenario(), *run("--duration", "8s"))
    bench.until("measuring")
    os.kill(bench.pid_of("locust: worker 0"), signal.SIGSTOP)
    ended = bench.end()
    assert ended.code == Exit.BROKEN
    assert "locust: worker 0 has said nothing for 3 s" in ended.err


@pytest.mark.parametrize("phase", PHASES)
def test_a_round_that_is_stopped_keeps_what_it_measured(site: Site, phase: Phase) -> None:
    late = phase == "draining"
    scenario = site.scenario(SLOW_TO_DRAIN) if late else site.scenario()
    short = ("--warmup", "100ms", "--duration", "500ms") if late else ()
    bench = site.start("run", scenario, *run(*short))
    if phase == "starting":
        bench.wait("workers", lambda: True if any("worker" in p for p in bench.parts()) else None)
    else:
        bench.until(phase)
    os.killpg(bench.pid, signal.SIGINT)
    ended = bench.end()
    assert ended.code == Exit.INTERRUPTED
    assert "stopped; continue with: hopbench run --resume run" in ended.err
    assert "Traceback" not in ended.err
    if phase in ("measuring", "draining"):
        reported = site.run("report", "run", "--json", "-")
        (trial,) = json.loads(reported.out)["trials"]
        assert "did not end" in doubt(trial, "interrupted")
        assert trial["load"]["sent"] > 0


def test_when_the_bench_is_killed_all_die(site: Site) -> None:
    bench = site.start("run", site.scenario(), *run())
    bench.until("measuring")
    titles = "\n".join(bench.parts())
    for part in ("locust: master", "locust: worker 0", "locust: worker 1"):
        assert part in titles
    bench.signal(signal.SIGKILL)
    bench.process.wait()
    wait_for("end of all parts", lambda: None if alive(bench.site) else True, 8.0)
    resumed = site.run("run", "--resume", "run", "--json", "-")
    assert resumed.code == Exit.DONE
    assert doubt(resumed.document["trials"][0], "interrupted") == ""
