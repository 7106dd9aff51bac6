from __future__ import annotations

import polars as pl

from hopbench.results.latency import LoadRow, headline, latency, load_row
from services.scenario.file.parser import parse_text

MS = 1_000_000
LOAD = parse_text(
    """
version: 1
services:
  order: {operations: {create: [{sleep: 1ms}]}}
load: {rate: 10/s, duration: 10s, entry: order.create}
"""
).load


def loaded(*rows: tuple[str, str, bool, int | None, int | None]) -> LoadRow:
    return load_row(LOAD, 100, samples(*rows))


def samples(*rows: tuple[str, str, bool, int | None, int | None]) -> pl.DataFrame:
    """Phase, status, sampled, and how many ms after it was due a request was sent and done."""
    return pl.DataFrame(
        [
            {
                "seq": i,
                "phase": phase,
                "status": status,
                "sampled": sampled,
                "intended_ns": i * MS,
                "sent_ns": None if sent is None else (i + sent) * MS,
                "done_ns": None if done is None else (i + done) * MS,
            }
            for i, (phase, status, sampled, sent, done) in enumerate(rows)
        ],
        schema_overrides={"sent_ns": pl.Int64, "done_ns": pl.Int64},
        orient="row",
    )


OK = [("measured", "ok", i % 2 == 0, 1, 10 + i) for i in range(12)]


def test_response_counts_from_when_a_request_was_due() -> None:
    of = latency(samples(*OK))
    assert of.response.p50 == 15.0
    assert of.service.p50 == 14.0
    assert loaded(*OK).lag_ms.p50 == 1.0


def test_sampled_and_unsampled_are_told_apart() -> None:
    of = latency(samples(*OK))
    assert (of.sampled.n, of.unsampled.n) == (6, 6)
    assert of.direct_tax_ms == -1.0
    assert of.headline("unsampled") is of.unsampled


def test_only_the_measured_phase_counts() -> None:
    warm = [("warmup", "ok", False, 1, 900), ("drain", "ok", False, 1, 900)]
    assert latency(samples(*OK, *warm)) == latency(samples(*OK))


def test_drops_and_timeouts_are_infinitely_slow() -> None:
    lost = [("measured", "dropped", False, None, None), ("measured", "timeout", False, 1, 5)]
    of = latency(samples(*OK, *lost))
    assert (of.response.n, of.response.p50, of.response.max) == (14, 16.0, None)
    assert of.service.n == 13


def test_failures_have_times_of_their_own() -> None:
    failed = [("measured", "error", False, 1, 3)]
    of = latency(samples(*OK, *failed))
    assert of.response == latency(samples(*OK)).response
    assert (of.failed.n, of.failed.max) == (1, 3.0)


def test_requests_are_counted_by_how_they_ended() -> None:
    rest = [
        ("measured", "error", False, 1, 3),
        ("measured", "timeout", False, 1, None),
        ("measured", "dropped", False, None, None),
        ("warmup", "ok", False, 1, 2),
    ]
    of = loaded(*OK, *rest)
    assert (of.sent, of.ok, of.failed, of.dropped) == (14, 12, 2, 1)
    assert (of.offered_rps, of.achieved_rps) == (10.0, 1.4)


def test_the_headline_is_unsampled_where_some_are() -> None:
    assert headline(True, 0.5) == "unsampled"
    assert headline(True, 0.0) == "unsampled"
    assert headline(True, 1.0) == "all"
    assert headline(False, 0.5) == "all"
