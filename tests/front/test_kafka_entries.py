"""Entries over Kafka: sent by a process beside Locust, in virtual time, and over a real broker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import psutil
import pytest

from hopbench.exits import Exit

SCENARIO = """\
version: 1
name: mixed
seed: 7
services:
  gateway:
    replicas: 2
    operations:
      checkout: [{call: stock.take, count: 6, id: take}]
      page: [{call: stock.take, id: look}]
      noted: [{call: stock.take, id: note}]
  stock: {operations: {take: [{sleep: 1ms}]}}
load:
  rate: 50/s
  duration: 2s
  warmup: 500ms
  entries:
    - {call: gateway.checkout, protocol: kafka, weight: 3, key: {distinct: 40}}
    - gateway.page
    - {publish: gateway.noted}
expectations: [{kind: chatty.sequential, edge: gateway.checkout->stock.take}]
"""
FIGURES = ("caller", "callee", "operation", "protocol", "calls", "calls_per_request")
BOUND_S = 90


def command(directory: Path, *arguments: str) -> list[str]:
    (directory / "mixed.yaml").write_text(SCENARIO)
    out = ("--out", str(directory / "run"), "--json", "-", "--quiet")
    return [
        sys.executable,
        "-m",
        "hopbench",
        "run",
        str(directory / "mixed.yaml"),
        *arguments,
        *out,
    ]


def run(directory: Path, *arguments: str) -> tuple[dict[str, Any], pl.DataFrame]:
    """The summary of a run, and the samples of its only round."""
    directory.mkdir()
    done = subprocess.run(
        command(directory, *arguments), capture_output=True, timeout=BOUND_S, check=False
    )
    assert done.returncode == Exit.DONE, done.stderr.decode()
    (trial,) = (directory / "run" / "trials").iterdir()
    return orjson.loads(done.stdout), pl.read_parquet(trial / "samples.parquet")


def told(summary: dict[str, Any]) -> tuple[Any, ...]:
    """What the time that things took has no part in."""
    (trial,) = summary["trials"]
    (variant,) = summary["variants"]
    edges = sorted(tuple(edge[name] for name in FIGURES) for edge in trial["edges"])
    return edges, trial["spans"], trial["requests"], variant["expectations"][0]["met"]


def faults(summary: dict[str, Any]) -> set[str]:
    codes = {doubt["code"] for doubt in summary["trials"][0]["doubts"]}
    never = {"consumed_produced", "samples_mismatch", "arrivals", "undrained", "redelivered"}
    return codes & (never | {"metrics_mismatch", "spans_mismatch", "failures", "broken"})


def check_equal(tmp_path: Path, *arguments: str) -> None:
    virtual, planned = run(tmp_path / "virtual", "--engine", "virtual")
    real, sent = run(tmp_path / "local", *arguments)
    assert told(real) == told(virtual)
    assert faults(real) == faults(virtual) == set()
    fixed = ["seq", "status", "trace_id", "sampled", "phase", "entry", "protocol", "code"]
    assert sent.select(fixed).equals(planned.select(fixed))
    over = dict(sent.group_by("entry").agg(pl.col("protocol").unique().first()).iter_rows())
    assert over == {"gateway.checkout": "kafka", "gateway.page": "http", "gateway.noted": "kafka"}
    assert (sent["done_ns"] > sent["sent_ns"]).all()
    assert (sent["sent_ns"] >= sent["intended_ns"]).all()


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_local_processes_and_virtual_time_send_the_same_and_find_the_same(tmp_path: Path) -> None:
    check_equal(tmp_path)
    log = (tmp_path / "local" / "run" / "trials").glob("*/logs/locust.log")
    (text,) = [path.read_text() for path in log]
    assert "KAFKA" in text  # Locust's own statistics have them, too


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_workers_share_the_entries_over_kafka(tmp_path: Path) -> None:
    check_equal(tmp_path, "--workers", "2")


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_the_official_instrumentation_sees_the_same_calls(tmp_path: Path) -> None:
    virtual, _ = run(tmp_path / "virtual", "--engine", "virtual")
    real, _ = run(tmp_path / "local", "--instrumentation", "official")
    lean_spans, spans = virtual["trials"][0]["spans"], real["trials"][0]["spans"]
    assert told(real)[0] == told(virtual)[0]
    assert faults(real) == set()
    assert spans["received"] == spans["by_scenario"] > lean_spans["received"]


@pytest.mark.real
@pytest.mark.timeout(180)
def test_a_real_broker_finds_the_same(tmp_path: Path) -> None:
    address = os.environ.get("HOPBENCH_TEST_KAFKA")
    if address is None:
        pytest.skip("HOPBENCH_TEST_KAFKA=HOST:PORT names no broker")
    check_equal(tmp_path, "--broker", address)


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("signum", "how"), [(signal.SIGKILL, "died (SIGKILL)"), (signal.SIGSTOP, "has said nothing")]
)
def test_its_death_breaks_the_round_with_a_message(
    signum: signal.Signals, how: str, tmp_path: Path
) -> None:
    arguments = command(tmp_path, "--duration", "20s")
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as bench:
        try:
            child = _sending(bench)
            child.send_signal(signum)
            out, err = bench.communicate(timeout=BOUND_S)
        finally:
            bench.kill()
    assert bench.returncode == Exit.BROKEN, err.decode()
    assert f"the process for Kafka entries: {how}" in err.decode()
    (trial,) = orjson.loads(out)["trials"]
    assert trial["void"]
    assert trial["load"]["sent"] > 0
    assert not child.is_running()


def _sending(bench: subprocess.Popen[bytes]) -> psutil.Process:
    """The process for Kafka entries, once it has sent some."""
    until = time.monotonic() + BOUND_S
    while time.monotonic() < until:
        with suppress(psutil.NoSuchProcess):
            for child in psutil.Process(bench.pid).children(recursive=True):
                if "kafka entries" in " ".join(child.cmdline()):
                    spools = list(Path(child.cwd()).glob("*.kafka.spool"))
                    if spools and spools[0].stat().st_size > 4000:
                        return child
        time.sleep(0.05)
    raise AssertionError("no process for Kafka entries has sent anything")
