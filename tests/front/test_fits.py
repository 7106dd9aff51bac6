"""A run that finds no memory here, or no room in its Jaeger, is refused before anything starts."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from hopbench.deploy.preparation import prepare
from hopbench.engines.port import Settings
from hopbench.exits import Exit
from hopbench.host.memory import available_mb
from hopbench.runs import fits
from hopbench.runs.estimate import Estimate
from hopbench.runs.fits import (
    BASE_MB,
    MAX_TRACES_VARIABLE,
    MEMORY_VARIABLE,
    SPAN_BYTES,
    SPARE_MB,
)
from hopbench.runs.plan import plan_of
from services.errors import BadInput
from services.scenario.file.parser import load
from tests.command_line import Hopbench


def test_what_just_fits_may_start() -> None:
    fits.memory(1000.0, "here", 1000.0 + SPARE_MB)


def test_what_does_not_fit_is_refused_with_figures() -> None:
    with pytest.raises(BadInput, match=r"about 1,001 MB of memory here, and 1,000 MB are free"):
        fits.memory(1001.0, "here", 1000.0 + SPARE_MB)


def test_this_machine_has_some_memory() -> None:
    assert available_mb() > 0


def test_a_run_of_too_many_processes_starts_nothing(tmp_path: Path, hopbench: Hopbench) -> None:
    (tmp_path / "wide.yaml").write_text(
        "version: 1\n"
        "services:\n"
        "  wide: {replicas: 10000, operations: {go: [sleep: 1ms]}}\n"
        "load: {rate: 1/s, duration: 1s, entry: wide.go}\n",
        encoding="utf-8",
    )
    done = hopbench("run", "wide.yaml", "--out", "run")
    assert done.code == Exit.BAD_INPUT
    assert "needs about" in done.err
    assert not (tmp_path / "run").exists()


def cost(traces: int, spans: int | None) -> Estimate:
    return Estimate(
        requests=2 * traces, traces=traces, spans=spans, bench_mb=100.0, disk_mb=1.0, minutes=0.1
    )


def test_what_jaeger_keeps_by_default_is_known() -> None:
    fits.jaeger(cost(100_000, None), {})
    with pytest.raises(BadInput, match=r"about 100,001 traces, and Jaeger keeps 100,000") as bad:
        fits.jaeger(cost(100_001, None), {})
    for way_out in ("--rounds", "--trace-ratio", MAX_TRACES_VARIABLE):
        assert way_out in str(bad.value)


def test_only_a_run_with_jaeger_has_to_fit_there() -> None:
    loaded = load("chatty")
    settings = Settings("virtual", "embedded", True, 0.5, "lean", None)
    for jaeger in (None, "http://127.0.0.1:16686"):
        plan = plan_of(
            loaded.scenario,
            loaded.sha256,
            variants=(),
            rounds=1,
            settings=replace(settings, jaeger=jaeger),
        )
        refused = pytest.raises(BadInput, match="Jaeger keeps 1:") if jaeger else nullcontext()
        with refused:
            prepare(plan, plan.order, {}).check({MAX_TRACES_VARIABLE: "1"})


def test_the_environment_says_how_many_traces_it_keeps() -> None:
    fits.jaeger(cost(200_000, None), {MAX_TRACES_VARIABLE: "200000"})
    with pytest.raises(BadInput, match="keeps 50"):
        fits.jaeger(cost(51, None), {MAX_TRACES_VARIABLE: "50"})


def test_the_environment_says_how_much_memory_it_has() -> None:
    spans = round((500 - BASE_MB) * 1e6 / SPAN_BYTES)
    fits.jaeger(cost(1000, spans), {MEMORY_VARIABLE: "500"})
    with pytest.raises(BadInput, match="take about 500 MB in Jaeger, and it has 499"):
        fits.jaeger(cost(1000, spans), {MEMORY_VARIABLE: "499"})
    # How many spans there will be is not always known.
    fits.jaeger(cost(1000, None), {MEMORY_VARIABLE: "1"})


@pytest.mark.parametrize("text", ["much", "-1", "0", "1.5"])
def test_an_environment_that_says_nothing_sensible_is_told(text: str) -> None:
    with pytest.raises(BadInput, match=MAX_TRACES_VARIABLE):
        fits.jaeger(cost(1, 1), {MAX_TRACES_VARIABLE: text})
