"""Faults: scope and time."""

from __future__ import annotations

import pytest

from tests.behaviour.world import LEAF, run, scenario

CALLERS = """
b:
  operations:
    one: [call: c.leaf]
    two: [call: c.leaf]
d:
  operations:
    one: [call: c.leaf]
c:
  replicas: 2
  operations:
    leaf: [sleep: 1ms]
    spare: [sleep: 1ms]
"""


@pytest.mark.parametrize(
    ("at", "slow"),
    [
        ("{service: c}", {"b.one", "b.two", "d.one", "a.go"}),
        ("{service: c, operation: leaf}", {"b.one", "b.two", "d.one"}),
        ("{edge: b->c.leaf}", {"b.one", "b.two"}),
        ("{edge: b.two->c.leaf}", {"b.two"}),
        ("{service: c, replica: 1}", {"b.two"}),
    ],
)
def test_a_fault_touches_the_calls_in_its_scope(at: str, slow: set[str]) -> None:
    world = run(
        scenario(
            CALLERS,
            steps="""
            - call: b.one
            - call: b.two
            - call: d.one
            - call: c.spare
            """,
            rest=f"faults:\n  - {{latency: 5ms, at: {at}}}\n",
        )
    )
    ended = {
        f"{s.out.wire.caller}.{s.out.wire.caller_operation}": s
        for s in world.sent
        if s.out.wire.callee == "c"
    }
    lines = [line for line in world.calls if "leaf" in line or "spare" in line]
    touched = {
        caller
        for caller, line in zip(ended, lines, strict=True)
        if float(line.split()[0]) - float(line.split()[3]) == 6
    }
    assert touched == slow
    assert world.counted("faults_fired") == len(slow)


def test_a_fault_lasts_from_and_to_counted_from_the_measured_phase() -> None:
    world = run(
        scenario(
            LEAF,
            steps="- call: b.one",
            rest="faults:\n  - {latency: 10ms, from: 2s, to: 4s, at: {service: b}}\n",
        ),
        requests=10,
        measured_from_ms=3000,
    )
    slow = [o.number for o in world.result.outcomes if o.done_ns - o.sent_ns == 11_000_000]
    assert slow == [5, 6]


def test_error_faults_strike_with_their_probability_and_not_again_on_every_retry() -> None:
    world = run(
        scenario(
            LEAF,
            steps="- {call: b.one, retry: {max: 1, backoff: 1ms}}",
            rest="faults:\n  - {error: 20%, at: {service: b}}\n",
        ),
        requests=1000,
    )
    first = [s for s in world.sent if s.out.attempt == 0]
    again = [s for s in world.sent if s.out.attempt == 1]
    assert len(first) == 1000
    assert 150 < len(again) < 250
    failed = sum(o.status != 0 for o in world.result.outcomes)
    assert 15 < failed < 70  # 4 % are struck twice, by another draw
    assert world.counted("faults_fired") == len(again) + failed


def test_two_faults_draw_apart() -> None:
    world = run(
        scenario(
            LEAF,
            steps="- {call: b.one, on_error: ignore}",
            rest="""
            faults:
              - {latency: 1ms, probability: 50%, at: {service: b}}
              - {latency: 2ms, probability: 50%, at: {service: b}}
            """,
        ),
        requests=400,
    )
    took = [(o.done_ns - o.sent_ns) // 1_000_000 for o in world.result.outcomes]
    assert {ms: 70 < took.count(ms) < 130 for ms in (1, 2, 3, 4)} == dict.fromkeys(
        (1, 2, 3, 4), True
    )
