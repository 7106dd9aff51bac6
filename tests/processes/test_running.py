"""What a round decides by itself while it runs."""

from __future__ import annotations

from typing import Any

import pytest

from hopbench.engines.wall.running import Times, unfinished, unreported
from services.report import Messages, ProcessReport


def report(service: str, pid: int, **changed: Any) -> ProcessReport:
    values: dict[str, Any] = {
        "service": service,
        "replica": 0,
        "pid": pid,
        "cpu_ns": 0,
        "handled": 1,
        "open_handlers": 0,
        "spans_ended": 1,
        "retries": 0,
        "timeouts": 0,
        "errors": 0,
        "faults_fired": 0,
    }
    return ProcessReport(**{**values, **changed})


@pytest.mark.parametrize(
    ("warmup_ns", "at_ns", "phase"),
    [
        (20, 90, ("warmup", 0.0)),
        (20, 105, ("warmup", 0.25)),
        (20, 120, ("measured", 0.0)),
        (20, 140, ("measured", 0.5)),
        (20, 170, ("measured", 1.0)),
        (0, 90, ("warmup", 0.0)),
        (0, 100, ("measured", 0.0)),
    ],
)
def test_a_round_knows_its_phase_with_and_without_a_warm_up(
    warmup_ns: int, at_ns: int, phase: tuple[str, float]
) -> None:
    measured_from_ns = 100 + warmup_ns
    ends_ns = measured_from_ns + 40
    assert Times(100, measured_from_ns, ends_ns, ends_ns).phase(at_ns) == phase


def test_a_round_is_unfinished_while_handlers_are_open_or_messages_under_way() -> None:
    sender = report("a", 1, messages=Messages(produced={"b.go": 2}))
    taker = report("b", 2, messages=Messages(consumed={"b.go": 1}))
    assert unfinished([report("a", 1)]) is None
    assert unfinished([report("a", 1, open_handlers=1)]) == "1 handlers are still open"
    assert unfinished([sender, taker]) == "topic b.go: 2 messages produced, 1 consumed"
    assert unfinished([sender, taker, report("b", 3, messages=taker.messages)]) is None


def test_only_messages_that_asked_for_no_acknowledgement_may_be_given_up() -> None:
    sender = report("a", 1, messages=Messages(produced={"b.go": 5}, unacknowledged={"b.go": 2}))
    told = "topic b.go: 5 messages produced, {} consumed"
    for consumed, at_once, at_last in (
        (2, told.format(2), told.format(2)),
        (3, told.format(3), None),
        (5, None, None),
        # The broker had stored one that its producer has given up.
        (6, None, None),
    ):
        both = [sender, report("b", 2, messages=Messages(consumed={"b.go": consumed}))]
        assert unfinished(both) == at_once
        assert unfinished(both, lost=True) == at_last


def test_a_process_without_a_last_report_is_named() -> None:
    replicas = [("a", 0), ("b", 0), ("b", 1)]
    last = report("b", 3, replica=1)
    assert unreported(replicas, [report("a", 1), last, report("b", 2)]) is None
    # Processes on several hosts may have the same pid.
    assert unreported(replicas, [report("a", 1), report("b", 1)]) == "no last report from b/1"
