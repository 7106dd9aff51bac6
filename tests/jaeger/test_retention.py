"""What a run leaves in Jaeger is its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hopbench.engines.port import Settings
from hopbench.runs import directory as rundir
from hopbench.runs import plan, rounds
from hopbench.runs.directory import RunDir
from hopbench.runs.plan import RunPlan
from loadgen.schedule import arrivals
from services.scenario.file.parser import load

WITH = Settings("local", "embedded", True, 0.5, "lean", None, jaeger="http://127.0.0.1:16686")
WITHOUT = replace(WITH, jaeger=None)


def planned(settings: Settings) -> RunPlan:
    loaded = load("chatty")
    return plan.plan_of(
        loaded.scenario,
        loaded.sha256,
        variants=("baseline",),
        rounds=2,
        settings=settings,
    )


def ids(of: RunPlan) -> list[int]:
    """Of every trace of the run, lower halves."""
    found: list[int] = []
    for turn in of.order:
        one = of.round_plan(turn)
        schedule = arrivals(one.scenario.load, one.seed, trace_salt=one.trace_salt)
        found += schedule.trace_lo.tolist()
    return found


def test_two_runs_with_one_seed_share_no_trace_id_in_jaeger() -> None:
    first, second = ids(planned(WITH)), ids(planned(WITH))
    assert not set(first) & set(second)
    assert len(set(first)) == len(first)


def test_without_jaeger_a_seed_gives_the_same_ids_again() -> None:
    assert ids(planned(WITHOUT)) == ids(planned(WITHOUT))


def test_a_resumed_run_has_the_ids_that_it_began_with(tmp_path: Path) -> None:
    before = planned(WITH)
    directory = RunDir(tmp_path)
    rounds.begin(before, directory)
    after = plan.read(rundir.opened(tmp_path))
    assert after.salt == before.salt
    assert ids(after) == ids(before)
