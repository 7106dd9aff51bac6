"""Ctrl-C and SIGTERM in each phase of a run."""

from __future__ import annotations

import os
import signal

import pytest

from hopbench.exits import Exit
from tests.faults.harness import SCENARIO, SLOW_TO_DRAIN, Bench, Phase, Site, doubt

pytestmark = pytest.mark.slow

CODES = {signal.SIGINT: Exit.INTERRUPTED, signal.SIGTERM: Exit.TERMINATED}
IN_A_ROUND: list[Phase] = ["starting", "warm-up", "measuring", "draining"]
AFTER_IT: list[Phase] = ["reading", "reporting"]


def stop(site: Site, phase: Phase, number: signal.Signals) -> Bench:
    """A run that is stopped in ``phase``; a SIGINT goes to its whole group, as Ctrl-C does."""
    scenario = site.scenario(SLOW_TO_DRAIN if phase == "draining" else SCENARIO)
    late = phase in ("draining", *AFTER_IT)
    short = ("--warmup", "100ms", "--duration", "500ms") if late else ()
    bench = site.start("run", scenario, *short, "--variant", "baseline", "--out", "run")
    bench.until(phase)
    if number == signal.SIGINT:
        os.killpg(bench.pid, number)
    else:
        bench.signal(number)
    return bench


@pytest.mark.parametrize("number", CODES)
@pytest.mark.parametrize("phase", IN_A_ROUND)
def test_a_round_that_is_stopped_keeps_what_it_measured(
    site: Site, phase: Phase, number: signal.Signals
) -> None:
    ended = stop(site, phase, number).end()
    assert ended.code == CODES[number]
    assert "stopped; continue with: hopbench run --resume run" in ended.err
    assert "Traceback" not in ended.err

    reported = site.run("report", "run", "--json", "-")
    assert reported.code == Exit.DONE
    document = reported.document
    if phase == "starting" and not document["trials"]:
        assert "baseline has not run" in reported.err
    else:
        (trial,) = document["trials"]
        assert "did not end" in doubt(trial, "interrupted")
        assert "did not end" in reported.err
        if phase in ("measuring", "draining"):
            assert trial["load"]["sent"] > 0
            assert trial["spans"]["received"] > 0


@pytest.mark.parametrize("number", CODES)
@pytest.mark.parametrize("phase", AFTER_IT)
def test_a_run_that_is_stopped_after_its_rounds_has_them_all(
    site: Site, phase: Phase, number: signal.Signals
) -> None:
    ended = stop(site, phase, number).end()
    assert ended.code == CODES[number]
    assert "stopped; " in ended.err
    assert "Traceback" not in ended.err

    # Nothing is missing, so nothing is started.
    resumed = site.run("run", "--resume", "run", "--json", "-")
    assert resumed.code == Exit.DONE
    (trial,) = resumed.document["trials"]
    assert doubt(trial, "interrupted") == ""
    assert trial["load"]["ok"] == trial["load"]["sent"] > 0
    assert (site.path / "run/report.html").is_file()


def test_a_stopped_run_is_resumed_where_it_was_stopped(site: Site) -> None:
    bench = site.start("run", site.scenario(), "--out", "run")
    bench.wait("second round", lambda: True if bench.has_trial(2) else None)
    bench.until("measuring")
    bench.signal(signal.SIGINT)
    assert bench.end().code == Exit.INTERRUPTED
    whole, _ = sorted(site.path.glob("run/trials/*"))
    before = (whole / "trial.json").read_bytes()

    resumed = site.run("run", "--resume", "run", "--json", "-")
    assert resumed.code == Exit.DONE
    assert [doubt(trial, "interrupted") for trial in resumed.document["trials"]] == ["", ""]
    assert (whole / "trial.json").read_bytes() == before


def test_impatience_changes_nothing(site: Site) -> None:
    bench = stop(site, "warm-up", signal.SIGINT)
    for _ in range(3):
        os.killpg(bench.pid, signal.SIGINT)
    assert bench.end().code == Exit.INTERRUPTED


@pytest.mark.parametrize("number", CODES)
@pytest.mark.parametrize("library", ["numpy", "_polars_runtime", "confluent_kafka"])
def test_a_signal_while_libraries_are_loaded_is_neither_lost_nor_a_bug(
    site: Site, library: str, number: signal.Signals
) -> None:
    bench = site.start("run", site.scenario(), "--variant", "baseline", "--out", "run")
    bench.wait(f"{library} in its memory", lambda: True if bench.has_loaded(library) else None)
    bench.signal(number)
    ended = bench.end()
    assert ended.code == CODES[number]
    assert "Traceback" not in ended.err
