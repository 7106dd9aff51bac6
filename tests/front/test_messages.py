"""What is doubted about messages, and about a broker that was away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from hopbench.engines.port import BrokerKind
from hopbench.results.checks import messages
from hopbench.results.round import unforeseen_spans
from services.doubts import Code, Doubt
from services.report import Gap, Messages, ProcessReport

ZERO_NS = 1_700_000_000_000_000_000


def process(**changed: Any) -> ProcessReport:
    values: dict[str, Any] = {
        **dict.fromkeys(("replica", "pid", "cpu_ns", "handled", "open_handlers"), 0),
        **dict.fromkeys(("spans_ended", "retries", "timeouts", "errors", "faults_fired"), 0),
        "service": "a",
    }
    return ProcessReport(**{**values, **changed})


@pytest.mark.parametrize(
    ("broker", "consumed", "unacknowledged", "codes"),
    [
        ("kafka", 5, 0, []),
        ("kafka", 5, 5, []),
        ("kafka", 4, 0, [Code.CONSUMED_PRODUCED]),
        ("kafka", 4, 1, [Code.MESSAGES_LOST]),
        ("kafka", 3, 1, [Code.CONSUMED_PRODUCED]),
        ("kafka", 6, 0, [Code.REDELIVERED]),
        ("embedded", 6, 0, [Code.CONSUMED_PRODUCED]),
    ],
)
def test_what_is_consumed_is_held_against_what_was_produced(
    broker: BrokerKind, consumed: int, unacknowledged: int, codes: list[Code]
) -> None:
    both = [
        Messages(produced={"b.go": 5}, unacknowledged={"b.go": unacknowledged}),
        Messages(consumed={"b.go": consumed}),
    ]
    assert [doubt.code for doubt in messages.counted(both, broker)] == codes


def test_messages_that_came_twice_are_told_by_topic() -> None:
    twice = [Messages(redelivered={"b.go": 2}), Messages(redelivered={"b.go": 1, "c.go": 1})]
    assert list(messages.counted(twice, "kafka")) == [
        Doubt(Code.REDELIVERED, "3 messages came twice to b.go and were handled once"),
        Doubt(Code.REDELIVERED, "1 messages came twice to c.go and were handled once"),
    ]


def test_a_message_that_came_twice_has_another_span_where_the_library_opens_it() -> None:
    twice = [process(), process(messages=Messages(redelivered={"b.go": 2}))]
    assert unforeseen_spans(twice, "official") == "2 messages came twice"
    assert unforeseen_spans(twice, "lean") is None
    assert unforeseen_spans([process()], "official") is None
    assert unforeseen_spans([process(retries=3)], "lean") == "3 retries fired"


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        ([[]], None),
        # Over before the round's schedule began.
        ([[(-9.0, -1.0)]], None),
        ([[(4.0, 12.5)]], "from 4.0 to 12.5 s (8.5 s)"),
        ([[(4.0, 12.5)], [(4.1, 13.0), (4.0, 12.4)]], "from 4.0 to 13.0 s (9.0 s)"),
        ([[(8.0, 9.0)], [(4.0, 5.0)]], "from 4.0 to 5.0 s (1.0 s), and from 8.0 to 9.0 s (1.0 s)"),
        ([[(4.0, None)], [(4.5, 6.0)]], "from 4.0 s to the end"),
    ],
)  # fmt: skip
def test_all_processes_together_tell_when_the_broker_was_away(
    seen: Sequence[Sequence[tuple[float, float | None]]], told: str | None
) -> None:
    processes = [
        Messages(
            gaps=tuple(
                Gap(unix_ns(begun), None if ended is None else unix_ns(ended))
                for begun, ended in gaps
            )
        )
        for gaps in seen
    ]
    doubts = list(messages.gaps(processes, ZERO_NS))
    assert [doubt.text for doubt in doubts] == (
        [] if told is None else [f"the broker was away {told} of the round"]
    )
    assert all(doubt.voids for doubt in doubts)


def unix_ns(round_s: float) -> int:
    return ZERO_NS + int(round_s * 1e9)
