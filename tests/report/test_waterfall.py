"""A trace as bars: what of a span was waiting for a worker is marked."""

from __future__ import annotations

from analysis.report.waterfall import Bar, waterfall

MS = 1_000_000


def bar(queue_ms: int) -> Bar:
    return Bar("s1", "stock reserve", "server", 0, 100 * MS, 0, error=False, queue_ns=queue_ms * MS)


def test_the_queued_part_of_a_span_is_marked_and_told() -> None:
    drawn = waterfall([bar(75)], ())
    assert '<span class="queued" style="width:75.00%"></span>' in drawn
    assert "stock reserve (server), 100 ms, 75.0 ms of it queued" in drawn


def test_a_span_that_waited_for_nobody_has_no_such_part() -> None:
    drawn = waterfall([bar(0)], ())
    assert "queued" not in drawn
