"""`hopbench run` on real processes: to its end, and stopped on the way."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import psutil
import pytest

from hopbench.exits import Exit
from hopbench.runs import plan
from hopbench.runs.directory import RunDir
from hopbench.runs.trial import read as read_trial
from loadgen.samples import RECORD
from services.doubts import Code
from tests.titles import title

SCENARIO = """\
version: 1
name: small
seed: 7
services:
  order: {operations: {create: [{call: stock.take, count: 6, id: take}]}}
  stock: {operations: {take: [{sleep: 1ms}]}}
load: {rate: 50/s, duration: 2s, warmup: 500ms, entry: order.create}
expectations: [{kind: chatty.sequential, edge: order.create->stock.take}]
variants:
  batched:
    refactors: [{op: batch, edge: order->stock.take, size: 6}]
    expectations: []
"""
BOUND_S = 90


class Bench:
    """A `hopbench run` in a process of its own, with all that it ever started."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        self.directory = directory
        self.process = subprocess.Popen(
            [sys.executable, "-m", "hopbench", "run", *arguments, "--json", "-"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=directory.parent,
        )
        self.seen: dict[int, psutil.Process] = {}

    def until(self, happens: Callable[[], bool]) -> None:
        """Wait for it, watching what is started; fails where the bench ends before."""
        while not happens():
            self._watch()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(0.05)
                raise AssertionError(self.process.communicate())

    def _watch(self) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(self.process.pid).children(recursive=True):
                self.seen[child.pid] = child

    def ended(self) -> tuple[int, Any, str]:
        """Exit code, document, and what people were told."""
        self._watch()
        out, err = self.process.communicate(timeout=BOUND_S)
        return self.process.returncode, orjson.loads(out) if out else None, err.decode()

    def left(self) -> list[str]:
        """Command lines of what is still alive, after a moment to die in."""
        _, alive = psutil.wait_procs(self.seen.values(), timeout=5)
        return [title(process) for process in alive]

    def close(self) -> None:
        for process in self.seen.values():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    (tmp_path / "small.yaml").write_text(SCENARIO)
    running = Bench(tmp_path / "run", "small.yaml", "--out", "run")
    yield running
    running.close()


def hopbench(*arguments: str | Path) -> tuple[int, Any]:
    ended = subprocess.run(
        [sys.executable, "-m", "hopbench", *map(str, arguments), "--json", "-"],
        capture_output=True,
        check=False,
        timeout=BOUND_S,
    )
    return ended.returncode, orjson.loads(ended.stdout) if ended.stdout else None


def measuring(directory: Path) -> Callable[[], bool]:
    """The first round's samples are being written, and those of its warm-up, 25 or so, are."""
    enough = 50 * RECORD.itemsize
    return lambda: any(
        p.stat().st_size > enough for p in directory.glob("trials/01-*/samples.spool")
    )


@pytest.mark.slow
def test_a_run_on_real_processes_finds_what_was_planted_and_leaves_nothing(bench: Bench) -> None:
    bench.until(measuring(bench.directory))
    code, summary, _ = bench.ended()
    assert code == Exit.DONE
    assert bench.left() == []
    by_name = {variant["name"]: variant for variant in summary["variants"]}
    assert [e["met"] for e in by_name["baseline"]["expectations"]] == [True]
    assert by_name["baseline"]["calls_per_request"] == 6
    assert by_name["batched"]["findings"] == []
    assert by_name["batched"]["response_p50_ms"] < by_name["baseline"]["response_p50_ms"]
    for trial in summary["trials"]:
        spans = trial["spans"]
        assert spans["lost"] == 0
        assert spans["received"] == spans["by_scenario"]
        assert trial["load"]["achieved_rps"] == trial["load"]["offered_rps"]
        assert len(trial["service_pids"]["order"]) == 1
        assert len(trial["locust_pids"]) == 1
        assert "metrics_mismatch" not in [d["code"] for d in trial["doubts"]]


@pytest.mark.slow
def test_a_stopped_run_is_reported_and_resumed(bench: Bench) -> None:
    bench.until(measuring(bench.directory))
    bench.process.send_signal(signal.SIGINT)
    ended, summary, told = bench.ended()
    assert ended == Exit.INTERRUPTED
    assert bench.left() == []
    assert f"--resume {bench.directory.name}" in told
    (trial,) = summary["trials"]
    assert trial["void"]
    assert trial["load"]["sent"] > 0
    again, report = hopbench("report", bench.directory)
    assert again == Exit.DONE
    assert report["trials"] == summary["trials"]
    resumed, whole = hopbench("run", "--resume", bench.directory)
    assert resumed == Exit.DONE
    assert len(whole["trials"]) == 2
    assert [e["met"] for e in whole["variants"][0]["expectations"]] == [True]


@pytest.mark.slow
def test_in_a_duet_both_arms_live_and_one_at_a_time_is_loaded(tmp_path: Path) -> None:
    """By the generators' own stamps, put back onto the sitting's time."""
    (tmp_path / "small.yaml").write_text(SCENARIO)
    run = RunDir(tmp_path / "run")
    ended, verdict = hopbench(
        *("compare", tmp_path / "small.yaml", "--variants", "baseline,batched"),
        *("--design", "duet", "--pairs", "6", "--duration", "3s", "--warmup", "0s"),
        *("--repeat-void", "0", "--out", run.path),
    )
    assert ended in (Exit.DONE, Exit.VOID)
    assert verdict["design"] == "duet"
    planned = plan.read(run)
    turns = planned.order
    for pair in zip(turns[::2], turns[1::2], strict=True):
        starts, sent = [], []
        for turn in pair:
            found = read_trial(run, planned, turn)
            assert found is not None
            assert found.evidence is not None
            slices = found.plan.slices
            assert slices is not None
            codes = {doubt.code for doubt in found.evidence.doubts}
            assert not codes & {Code.SAMPLES_MISMATCH, Code.ARRIVALS}
            intended = found.samples["intended_ns"].to_numpy() - found.evidence.start_ns
            assert (intended == found.schedule.offset_ns).all()
            starts.append(found.evidence.start_ns)
            sent.append(slices.sitting(intended) // slices.room_ns)
        assert starts[0] == starts[1]
        assert not set(sent[0]) & set(sent[1])
        pids = [set(map(tuple, _pids(run, turn))) for turn in pair]
        assert not pids[0] & pids[1]


def _pids(run: RunDir, turn: plan.Turn) -> Iterator[Any]:
    found = orjson.loads(run.trial(turn.round, turn.variant).evidence.read_bytes())
    yield from found["evidence"]["service_pids"].values()
