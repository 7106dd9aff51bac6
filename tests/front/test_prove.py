"""`hopbench prove` from end to end, in virtual time."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from hopbench import cli
from hopbench.exits import Exit
from hopbench.proving.directory import ProofDir
from services.scenario.file.parser import load
from tests.command_line import Hopbench
from tests.documents import conforms

SCENARIO = """\
version: 1
name: mine
seed: 7
services:
  order:
    operations:
      create:
        - {call: stock.take, count: 6, id: take}
        - {call: depot.ask, count: 6, max_parallel: all, id: ask}
  stock: {operations: {take: [{sleep: {time: {exponential: 1ms}, per_item: 0.1ms}}]}}
  depot: {operations: {ask: [sleep: {per_item: 2ms}]}}
load: {rate: 120/s, duration: 500ms, warmup: 100ms, entry: order.create}
"""
BATCHED, BURST = "batch-order-stock-take", "batch-order-depot-ask"
STAGES = ("1-look", "1-screen", "1-confirm", "final")


def words(scenario: Path, directory: Path) -> tuple[str, ...]:
    return ("prove", str(scenario), "--engine", "virtual", "--out", str(directory))


def read(path: Path) -> Any:
    return orjson.loads(path.read_bytes())


@dataclass(frozen=True)
class Done:
    code: Exit
    place: ProofDir
    proof: Any

    def step(self, name: str) -> Any:
        (found,) = [step for step in self.proof["steps"] if step["name"] == name]
        return found


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scenario") / "mine.yaml"
    path.write_text(SCENARIO)
    return path


@pytest.fixture(scope="module")
def done(mine: Path, tmp_path_factory: pytest.TempPathFactory) -> Done:
    place = ProofDir(tmp_path_factory.mktemp("runs") / "a")
    code = cli.invoke([*words(mine, place.path), "--quiet"])
    return Done(code, place, read(place.proof))


@pytest.mark.slow
def test_what_held_and_what_did_not_are_told_and_the_file_has_the_former(done: Done) -> None:
    assert done.code is Exit.DONE
    conforms(done.proof)
    assert done.step(BATCHED)["held"]
    assert done.step(BATCHED)["confirmed"]
    low, high = done.step(BATCHED)["saved_ms"]
    assert 0 < low <= done.step(BATCHED)["estimate_ms"] <= high
    burst = done.step(BURST)
    assert (burst["held"], burst["confirmed"]) == (False, False)
    final = done.proof["final"]
    assert final["verdict"]["verdict"] == "faster"
    assert [each["op"] for each in final["refactors"]] == ["batch"]
    scenario = load(final["scenario"]).scenario
    assert scenario.expectations == ()
    ran = ["run", final["scenario"], "--engine", "virtual", "--quiet", "--out"]
    again = done.place.path.parent / "again"
    assert cli.invoke([*ran, str(again)]) is Exit.DONE
    (row,) = read(again / "summary.json")["variants"]
    assert [found["where"]["callee"] for found in row["findings"]] == ["depot"]


@pytest.mark.slow
def test_its_pages_say_the_same_and_open_offline(done: Done) -> None:
    page = (done.place.path / "report.html").read_text()
    comment = (done.place.path / "report.md").read_text()
    for said in (BATCHED, BURST, "1 of 2 refactors held"):
        assert said in page
        assert said in comment
    assert "<h2>Before</h2>" in page
    assert not re.findall(r'(?:src|href)="(?!#)', page)


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_killed_in_any_stage_it_goes_on_to_the_same_end(
    stage: str, done: Done, mine: Path, tmp_path: Path
) -> None:
    place = ProofDir(tmp_path / "killed")
    bench = subprocess.Popen(
        [sys.executable, "-m", "hopbench", *words(mine, place.path), "--quiet"],
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        while not any(place.stage(stage).trials.glob("*/trial.json")):
            assert bench.poll() is None
            time.sleep(0.01)
    finally:
        os.killpg(bench.pid, signal.SIGKILL)
        bench.wait()
    assert cli.invoke(["prove", "--resume", str(place.path), "--quiet"]) is Exit.DONE
    found = read(place.proof)
    assert found["finished"]
    for one, other in zip(found["steps"], done.proof["steps"], strict=True):
        assert {k: one[k] for k in one if k != "verdict"} == {
            k: other[k] for k in other if k != "verdict"
        }
    assert found["final"]["verdict"]["metrics"] == done.proof["final"]["verdict"]["metrics"]


@pytest.mark.slow
def test_a_signal_keeps_what_was_measured_and_says_how_to_go_on(mine: Path, tmp_path: Path) -> None:
    place = ProofDir(tmp_path / "stopped")
    bench = subprocess.Popen(
        [sys.executable, "-m", "hopbench", *words(mine, place.path)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not any(place.stage("1-screen").trials.glob("*/trial.json")):
        assert bench.poll() is None
        time.sleep(0.01)
    bench.send_signal(signal.SIGINT)
    _, told = bench.communicate(timeout=60)
    assert bench.returncode == Exit.INTERRUPTED
    assert f"go on with: hopbench prove --resume {place.path}" in told
    found = read(place.proof)
    conforms(found)
    assert (found["finished"], found["final"]) == (False, None)


def test_a_scenario_without_a_finding_has_nothing_to_prove(
    hopbench: Hopbench, tmp_path: Path
) -> None:
    path = tmp_path / "good.yaml"
    path.write_text(SCENARIO.replace("count: 6", "count: 1"))
    found = hopbench("prove", path, "--engine", "virtual", "--json", "-")
    assert found.code is Exit.DONE
    conforms(found.document)
    assert found.document["sentence"] == "Nothing to prove: no finding proposes a refactor."
    assert (found.document["steps"], found.document["final"]) == ([], None)


def test_a_budget_too_small_is_refused_with_the_least_that_would_do(
    hopbench: Hopbench, mine: Path
) -> None:
    found = hopbench("prove", mine, "--engine", "virtual", "--budget", "5s")
    assert found.code is Exit.BAD_INPUT
    assert "--budget: 0.0833 minutes are too few to prove one refactor by six pairs" in found.err
    assert "--budget 1m" in found.err
    assert not (hopbench.directory / "runs").exists()


@pytest.mark.parametrize("budget", ["20m", "20min", "1200s"])
def test_a_budget_is_told_beforehand(hopbench: Hopbench, mine: Path, budget: str) -> None:
    found = hopbench("prove", mine, "--engine", "virtual", "--budget", budget, "--dry-run")
    assert found.code is Exit.DONE
    assert "minutes to prove, at most 20;" in found.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--trace-ratio", "0"), "findings are of traces"),
        (("--budget", "soon"), "--budget: "),
        (("--engine", "compose"), "beside the bench so far"),
        (("--resume", "nowhere"), "is no proof's directory"),
        (("--depth", "0"), "--depth"),
    ],
)
def test_what_can_end_in_no_proof_is_refused_before_anything_starts(
    hopbench: Hopbench, mine: Path, words: tuple[str, ...], said: str
) -> None:
    scenario = () if "--resume" in words else (mine, "--engine", "virtual")
    found = hopbench("prove", *scenario, *words)
    assert found.code is Exit.BAD_INPUT
    assert said in found.err
    assert not (hopbench.directory / "runs").exists()


def test_a_proofs_directory_is_no_runs(hopbench: Hopbench, tmp_path: Path) -> None:
    place = tmp_path / "proof"
    place.mkdir()
    ProofDir(place).plan.touch()
    found = hopbench("report", place)
    assert found.code is Exit.BAD_INPUT
    assert f"hopbench prove --resume {place}" in found.err
