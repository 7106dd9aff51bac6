"""What a run leaves in Jaeger: whether it fits, and that its traces are its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hopbench.engines.port import Settings
from hopbench.runs import directory as rundir
from hopbench.runs import plan, retention, rounds
from hopbench.runs.directory import RunDir
from hopbench.runs.estimate import Estimate
from hopbench.runs.limits import Limits
from hopbench.runs.plan import RunPlan
from hopbench.runs.retention import BASE_MB, MAX_TRACES_VARIABLE, MEMORY_VARIABLE, SPAN_BYTES
from loadgen.schedule import arrivals
from services.errors import BadInput
from services.scenario.file.parser import load

WITH = Settings("local", "embedded", True, 0.5, "lean", None, jaeger="http://127.0.0.1:16686")
WITHOUT = replace(WITH, jaeger=None)


def cost(traces: int, spans: int | None) -> Estimate:
    return Estimate(
        requests=2 * traces,
        traces=traces,
        spans=spans,
        processes=3,
        memory_mb=100.0,
        disk_mb=1.0,
        minutes=0.1,
    )


def test_what_jaeger_keeps_by_default_is_known() -> None:
    retention.check(cost(100_000, None), WITH, {})
    with pytest.raises(BadInput, match=r"about 100,001 traces, and Jaeger keeps 100,000") as bad:
        retention.check(cost(100_001, None), WITH, {})
    for way_out in ("--rounds", "--trace-ratio", MAX_TRACES_VARIABLE):
        assert way_out in str(bad.value)


def test_without_jaeger_nothing_has_to_fit() -> None:
    retention.check(cost(10**9, 10**9), WITHOUT, {MAX_TRACES_VARIABLE: "1", MEMORY_VARIABLE: "1"})


def test_the_environment_says_how_many_traces_it_keeps() -> None:
    retention.check(cost(200_000, None), WITH, {MAX_TRACES_VARIABLE: "200000"})
    with pytest.raises(BadInput, match="keeps 50"):
        retention.check(cost(51, None), WITH, {MAX_TRACES_VARIABLE: "50"})


def test_the_environment_says_how_much_memory_it_has() -> None:
    fits = round((500 - BASE_MB) * 1e6 / SPAN_BYTES)
    retention.check(cost(1000, fits), WITH, {MEMORY_VARIABLE: "500"})
    with pytest.raises(BadInput, match="take about 500 MB in Jaeger, and it has 499"):
        retention.check(cost(1000, fits), WITH, {MEMORY_VARIABLE: "499"})
    # How many spans there will be is not always known.
    retention.check(cost(1000, None), WITH, {MEMORY_VARIABLE: "1"})


@pytest.mark.parametrize("text", ["much", "-1", "0", "1.5"])
def test_an_environment_that_says_nothing_sensible_is_told(text: str) -> None:
    with pytest.raises(BadInput, match=MAX_TRACES_VARIABLE):
        retention.check(cost(1, 1), WITH, {MAX_TRACES_VARIABLE: text})


def planned(settings: Settings) -> RunPlan:
    loaded = load("chatty")
    return plan.plan_of(
        loaded.scenario,
        loaded.sha256,
        variants=("baseline",),
        rounds=2,
        settings=settings,
        limits=Limits(),
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
