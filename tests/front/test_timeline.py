"""A round second by second: nothing is lost, and an overload shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from analysis.report.overtime import over_time
from hopbench.exits import Exit
from hopbench.results.timeline import timeline
from hopbench.runs.directory import RunDir
from tests.documents import conforms
from tests.front.test_run import invoke

S = 1_000_000_000
FROM = 1_000 * S
OVERLOADED = """\
version: 1
name: over
seed: 5
services: {q: {workers: 1, operations: {go: [sleep: 20ms]}}}
load: {rate: 100/s, duration: 4s, warmup: 1s, entry: q.go, max_in_flight: 400}
"""


def samples(*rows: tuple[float, float | None, float | None]) -> pl.DataFrame:
    """Due, sent and done, s from the start of the measured phase."""

    def at(seconds: float | None) -> int | None:
        return None if seconds is None else FROM + round(seconds * S)

    return pl.DataFrame(
        {
            "entry": ["a.go"] * len(rows),
            "intended_ns": [at(due) for due, _, _ in rows],
            "sent_ns": [at(sent) for _, sent, _ in rows],
            "done_ns": [at(done) for _, _, done in rows],
        },
        schema_overrides={"sent_ns": pl.Int64, "done_ns": pl.Int64},
    )


def test_each_second_has_what_was_sent_answered_dropped_and_in_flight() -> None:
    seconds = timeline(
        samples(
            (-0.5, -0.5, 0.1),
            (0.2, 0.2, 0.3),
            (0.4, 0.4, 2.5),
            (0.6, 0.7, None),
            (1.1, None, None),
        ),
        FROM,
        {"a.go": 1 * S},
    )
    assert [(s.at_s, s.sent, s.answered, s.dropped, s.in_flight) for s in seconds] == [
        (-1, 1, 0, 0, 1),
        (0, 3, 2, 0, 2),
        (1, 0, 0, 1, 1),
        (2, 0, 1, 0, 0),
    ]
    assert [s.p50_ms for s in seconds] == [600.0, 100.0, None, None]
    assert [s.p95_ms for s in seconds] == [600.0, 2100.0, None, None]


times = st.floats(-3, 5)
requests = st.tuples(times, st.none() | st.floats(0, 0.5), st.none() | st.floats(0, 4))


@given(st.lists(requests, min_size=1, max_size=40))
def test_no_request_is_lost(drawn: list[tuple[float, float | None, float | None]]) -> None:
    rows = [
        (
            due,
            None if lag is None else due + lag,
            None if lag is None or took is None else due + lag + took,
        )
        for due, lag, took in drawn
    ]
    seconds = timeline(samples(*rows), FROM, {"a.go": S})
    assert [s.at_s for s in seconds] == list(range(seconds[0].at_s, seconds[0].at_s + len(seconds)))
    assert sum(s.answered for s in seconds) == sum(done is not None for _, _, done in rows)
    assert sum(s.dropped for s in seconds) == sum(sent is None for _, sent, _ in rows)
    assert all(s.in_flight >= 0 for s in seconds)
    over_time(seconds)


def test_nothing_recorded_is_no_timeline() -> None:
    assert timeline(samples(), FROM, {}) == ()
    assert over_time(()) == ()


def test_an_overload_is_a_ramp_in_the_summary_and_in_the_report(tmp_path: Path) -> None:
    (tmp_path / "over.yaml").write_text(OVERLOADED)
    out = ("--engine", "virtual", "--out", tmp_path / "run")
    assert invoke("run", tmp_path / "over.yaml", *out) == Exit.DONE
    summary = orjson.loads(RunDir(tmp_path / "run").summary.read_bytes())
    conforms(summary)
    seconds: list[dict[str, Any]] = summary["trials"][0]["timeline"]
    measured = [s for s in seconds if 0 <= s["at_s"] < 4]
    assert {s["answered"] for s in measured} == {50}
    assert measured[-1]["in_flight"] > 2 * measured[0]["in_flight"]
    assert measured[-1]["p95_ms"] > 2 * measured[0]["p95_ms"]
    doubts = {doubt["code"]: doubt["text"] for doubt in summary["trials"][0]["doubts"]}
    assert doubts["overload"] == "q has 2.0 requests at once to handle, and admits 1"
    assert "cold" not in doubts
    assert "in flight over time" in (tmp_path / "run" / "report.html").read_text()


def test_more_work_than_cores_is_told_where_nothing_else_shows_it(tmp_path: Path) -> None:
    """Without `workers` no request waits for one; it waits for the core, which no finding tells."""
    text = OVERLOADED.replace("workers: 1, ", "").replace("sleep: 20ms", "work: 12ms")
    (tmp_path / "over.yaml").write_text(text)
    out = ("--engine", "virtual", "--out", tmp_path / "run")
    assert invoke("run", tmp_path / "over.yaml", *out) == Exit.DONE
    summary = orjson.loads(RunDir(tmp_path / "run").summary.read_bytes())
    (doubt,) = (d for d in summary["trials"][0]["doubts"] if d["code"] == "overload")
    assert doubt["text"] == "q is asked for 1.20 cores of work, and its replica has one"
