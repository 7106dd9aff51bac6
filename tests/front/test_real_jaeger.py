"""Runs over a real Jaeger: `HOPBENCH_TEST_JAEGER=http://HOST:PORT make test-real`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

RUN = ("--variant", "baseline", "--duration", "8s", "--warmup", "1s")
QUIET = ("--json", "-", "--quiet")


@pytest.fixture
def jaeger() -> tuple[str, ...]:
    """Flags that send a run's traces to the real one."""
    url = os.environ.get("HOPBENCH_TEST_JAEGER")
    if url is None:
        pytest.skip("HOPBENCH_TEST_JAEGER=http://HOST:PORT names no Jaeger")
    otlp = os.environ.get("HOPBENCH_TEST_JAEGER_OTLP")
    return ("--jaeger", url, *(() if otlp is None else ("--jaeger-otlp", otlp)))


def hopbench(*arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "hopbench", *arguments],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def told(summary: dict[str, Any]) -> list[tuple[object, ...]]:
    """Kind, place and count per request of each finding: what does not hang on the machine."""
    return sorted(
        (f["kind"], json.dumps(f["where"]), f["count_per_request"]["p50"])
        for f in summary["variants"][0]["findings"]
    )


@pytest.mark.parametrize("scenario", ["chatty", "checkout"])
def test_findings_are_those_of_the_embedded_collector(
    scenario: str, jaeger: tuple[str, ...], tmp_path: Path
) -> None:
    here = hopbench("run", scenario, *RUN, "--out", str(tmp_path / "here"), *QUIET)
    there = hopbench("run", scenario, *RUN, *jaeger, "--out", str(tmp_path / "there"), *QUIET)
    assert (here["trace_store"], there["trace_store"]) == ("embedded", "jaeger")
    for summary in (here, there):
        (trial,) = summary["trials"]
        assert trial["spans"]["lost"] == 0
        assert trial["spans"]["received"] == trial["spans"]["by_scenario"] > 0
        assert trial["requests"]["complete"] == trial["requests"]["sampled"] > 0
    assert told(here) == told(there) != []
    assert [e["met"] for e in there["variants"][0]["expectations"]] == [
        True for _ in there["variants"][0]["expectations"]
    ]


def test_two_runs_with_one_seed_do_not_mix_and_analyze_finds_them(
    jaeger: tuple[str, ...], tmp_path: Path
) -> None:
    short = ("--variant", "baseline", "--duration", "3s", "--warmup", "500ms", *jaeger)
    runs = [
        hopbench("run", "chatty", *short, "--out", str(tmp_path / name), *QUIET)
        for name in ("first", "second")
    ]
    for summary in runs:
        assert summary["trials"][0]["spans"]["lost"] == 0
        assert (
            summary["trials"][0]["spans"]["received"]
            == (summary["trials"][0]["spans"]["by_scenario"])
        )
    read = hopbench("analyze", jaeger[1], "--service", "order", "--lookback", "10min", *QUIET)
    sampled = sum(summary["trials"][0]["requests"]["sampled"] for summary in runs)
    assert read["input"]["traces"] >= sampled
    kinds = {(f["kind"], f["where"]["callee"]) for f in read["findings"]}
    assert ("chatty.sequential", "inventory") in kinds


def test_cited_traces_are_found_where_they_link_to(jaeger: tuple[str, ...], tmp_path: Path) -> None:
    short = ("--variant", "baseline", "--duration", "4s", "--warmup", "500ms", *jaeger)
    ui = ("--jaeger-ui", "http://pages.example/base/")
    summary = hopbench("run", "chatty", *short, *ui, "--out", str(tmp_path / "run"), *QUIET)
    report = (tmp_path / "run" / "report.html").read_text()
    cited = [e for f in summary["variants"][0]["findings"] for e in f["evidence"]]
    assert cited
    for each in cited:
        assert each["url"] == f"http://pages.example/base/trace/{each['trace_id']}"
        assert f'href="{each["url"]}"' in report
