"""Kinds of load, end to end: what a run says of a closed load, a ramp and a replay."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest

from hopbench.exits import Exit
from hopbench.runs.directory import RunDir
from tests.documents import conforms
from tests.front.test_run import invoke

SCENARIO = """\
version: 1
name: mine
seed: 7
services:
  order: {operations: {create: [{call: stock.take, count: 3}]}}
  stock: {operations: {take: [{sleep: 2ms}]}}
load: {LOAD, duration: 3s, warmup: 1s}
"""
CLOSED = "model: closed, users: 8, think: {exponential: 40ms}, entry: order.create"
RAMP = "rate: 50/s, ramp: [{to: 200/s, over: 2s}, {to: 20/s, over: 500ms}], entry: order.create"
REPLAY = "arrivals: replay, replay: log.csv, entry: {call: order.create, protocol: grpc}"
MESSAGES = "model: closed, users: 4, think: 30ms, entries: [{publish: order.create}]"
LOADS = {"closed": CLOSED, "ramp": RAMP, "replay": REPLAY, "messages": MESSAGES}
OF_OPEN_LOADS = {"lag", "rate", "arrivals"}


def write(directory: Path, load: str) -> Path:
    (directory / "mine.yaml").write_text(SCENARIO.replace("LOAD", load))
    (directory / "log.csv").write_text("\n".join(f"{n * n % 997 / 250}" for n in range(300)))
    return directory / "mine.yaml"


def ran(directory: Path, load: str, *words: str) -> tuple[dict[str, Any], pl.DataFrame]:
    """The summary of a run of one round, and its samples."""
    code = invoke("run", write(directory, load), *words, "--out", directory / "run")
    assert code == Exit.DONE
    summary = orjson.loads(RunDir(directory / "run").summary.read_bytes())
    conforms(summary)
    (trial,) = (directory / "run" / "trials").iterdir()
    return summary, pl.read_parquet(trial / "samples.parquet")


def codes(summary: dict[str, Any]) -> set[str]:
    return {doubt["code"] for trial in summary["trials"] for doubt in trial["doubts"]}


@pytest.mark.parametrize("load", LOADS.values(), ids=LOADS)
def test_in_virtual_time_nothing_is_doubted_but_the_size(load: str, tmp_path: Path) -> None:
    summary, samples = ran(tmp_path, load, "--engine", "virtual")
    assert codes(summary) <= {"not_identifiable", "short_round", "short_warmup", "virtual_clock"}
    (trial,) = summary["trials"]
    assert trial["spans"]["received"] == trial["spans"]["by_scenario"]
    assert samples.height > 100


def test_a_closed_load_has_no_rate_and_its_requests_are_intended_when_sent(tmp_path: Path) -> None:
    summary, samples = ran(tmp_path, CLOSED, "--engine", "virtual", "--workers", "1")
    asked, load = summary["load"], summary["trials"][0]["load"]
    assert (asked["model"], asked["rate_rps"], asked["arrivals"]) == ("closed", None, None)
    assert asked["pace"] == "8 users thinking 40 ms (exponential)"
    assert load["lag_ms"]["n"] == 0
    assert (load["model"], load["rate_rps"], load["offered_rps"]) == ("closed", None, None)
    # The interactive response time law: 8 users / (40 ms of thought + 6 ms of answer).
    assert load["achieved_rps"] == pytest.approx(8 / 0.046, rel=0.1)
    assert (samples["intended_ns"] == samples["sent_ns"]).all()
    assert samples["seq"].to_list() == list(range(samples.height))
    flying = sorted(
        itertools.chain(((t, 1) for t in samples["sent_ns"]), ((t, -1) for t in samples["done_ns"]))
    )
    assert max(itertools.accumulate(step for _, step in flying)) <= 8


def test_users_who_never_think_run_out_of_requests_and_the_round_is_void(tmp_path: Path) -> None:
    fast = "model: closed, users: 50, entry: stock.quick"
    scenario = write(tmp_path, fast)
    scenario.write_text(
        scenario.read_text().replace("take: [", "quick: [{sleep: 1ms}], take: [")
        .replace("duration: 3s, warmup: 1s", "duration: 100ms, warmup: 0s")
    )  # fmt: skip
    out = ("--engine", "virtual", "--strict", "--out", tmp_path / "run")
    assert invoke("run", scenario, *out) == Exit.VOID
    summary = orjson.loads(RunDir(tmp_path / "run").summary.read_bytes())
    assert "spent" in codes(summary)


@pytest.mark.parametrize(
    ("load", "words", "said"),
    [
        (CLOSED, ("--rate", "9/s"), "--rate: this load has no rate"),
        (REPLAY, ("--rate", "9/s"), "--rate: this load has no rate"),
        (RAMP, ("--rate", "9/s"), "--rate: the rate of this load is a ramp"),
        (RAMP, ("--users", "9"), "--users: this load is open"),
        (RAMP, ("--duration", "2s"), "the ramp takes 2.5s, longer than the duration"),
        (CLOSED, ("--users", "5000"), "5000 users may have as many requests in flight"),
        (REPLAY, ("--warmup", "5s"), "the recording ends after 3.984s, within the warm-up"),
    ],
)
def test_flags_that_do_not_go_with_the_load_are_refused(
    load: str,
    words: tuple[str, str],
    said: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    out = ("--engine", "virtual", "--out", tmp_path / "run")
    assert invoke("run", write(tmp_path, load), *words, *out) == Exit.BAD_INPUT
    assert said in capfd.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_run_directory_is_a_scenario_without_the_recording_beside_it(tmp_path: Path) -> None:
    ran(tmp_path, REPLAY, "--engine", "virtual")
    (tmp_path / "log.csv").unlink()
    again = ("--engine", "virtual", "--out", tmp_path / "again")
    assert invoke("run", tmp_path / "run", *again) == Exit.DONE


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("instrumentation", ["lean", "official"])
@pytest.mark.parametrize("load", LOADS.values(), ids=LOADS)
def test_local_processes_are_loaded_as_virtual_ones_are(
    load: str, instrumentation: str, tmp_path: Path
) -> None:
    summary, samples = ran(tmp_path, load, "--instrumentation", instrumentation)
    unfit = {"samples_mismatch", "spans_mismatch", "metrics_mismatch", "arrivals", "spent", "drops"}
    assert not codes(summary) & unfit
    (trial,) = summary["trials"]
    assert trial["spans"]["received"] == trial["spans"]["by_scenario"]
    if "closed" in load:
        assert not codes(summary) & OF_OPEN_LOADS
        assert (samples["intended_ns"] == samples["sent_ns"]).all()


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_workers_share_the_users_of_a_closed_load(tmp_path: Path) -> None:
    summary, samples = ran(tmp_path, CLOSED, "--workers", "3")
    assert not codes(summary) & (OF_OPEN_LOADS | {"samples_mismatch", "spent", "drops"})
    assert (samples["seq"] % 8 % 3 == samples["worker"]).all()
    assert samples["worker"].n_unique() == 3


def test_a_report_says_that_figures_of_a_closed_load_are_their_own(tmp_path: Path) -> None:
    for name, load in (("closed", CLOSED), ("open", RAMP)):
        (tmp_path / name).mkdir()
        ran(tmp_path / name, load, "--engine", "virtual")
        for report in ("report.html", "report.md"):
            text = (tmp_path / name / "run" / report).read_text()
            assert ("comparable with one of an open load" in text) == (name == "closed")
    assert "from when each was sent" in (tmp_path / "closed" / "run" / "report.html").read_text()
