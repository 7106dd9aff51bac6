"""Every step kind, as an ordered log in virtual time."""

from __future__ import annotations

import pytest

from services.wire.ports import Status
from tests.behaviour.world import LEAF, run, scenario

STEPS = {
    "a sequence runs in order": (
        """
        - sleep: 1ms
        - call: b.one
        - call: b.two
        """,
        ["2 one/0 since 1 ok", "4 two/0 since 2 ok"],
    ),
    "a count of calls runs one after another": (
        "- {call: b.one, count: 3}",
        ["1 one/0 since 0 ok", "2 one/0 since 1 ok", "3 one/0 since 2 ok"],
    ),
    "a batch carries its items in one call": (
        "- {call: b.one, count: 5, batch: 2}",
        ["1 one/0 x2 since 0 ok", "2 one/0 x2 since 1 ok", "3 one/0 since 2 ok"],
    ),
    "a count without a bound is a fan-out": (
        "- {call: b.one, count: 2, max_parallel: all}",
        ["0 {", "1 *one/0 since 0 ok", "1 *one/0 since 0 ok", "1 } 2 calls, 0 failed"],
    ),
    "a bounded count keeps its bound": (
        "- {call: b.one, count: 3, max_parallel: 2}",
        [
            "0 {",
            "1 *one/0 since 0 ok",
            "1 *one/0 since 0 ok",
            "2 *one/0 since 1 ok",
            "2 } 3 calls, 0 failed",
        ],
    ),
    "a single call is no fan-out, however many were allowed": (
        "- {call: b.one, count: 4, batch: 4, max_parallel: all}",
        ["1 one/0 x4 since 0 ok"],
    ),
    "a parallel block runs at once": (
        """
        - parallel:
          - call: b.two
          - call: b.one
        """,
        ["0 {", "1 *one/0 since 0 ok", "2 *two/0 since 0 ok", "2 } 2 calls, 0 failed"],
    ),
    "a bounded block starts its steps in order": (
        """
        - parallel:
            max: 2
            steps:
              - call: b.three
              - call: b.one
              - call: b.two
        """,
        [
            "0 {",
            "1 *one/0 since 0 ok",
            "3 *three/0 since 0 ok",
            "3 *two/0 since 1 ok",
            "3 } 3 calls, 0 failed",
        ],
    ),
    "after holds inside a parallel block": (
        """
        - parallel:
          - {call: b.one, id: first}
          - {call: b.two, after: [first]}
          - {call: b.three}
        """,
        [
            "0 {",
            "1 *one/0 since 0 ok",
            "3 *three/0 since 0 ok",
            "3 *two/0 since 1 ok",
            "3 } 3 calls, 0 failed",
        ],
    ),
    "a waiting step takes no place": (
        """
        - parallel:
            max: 2
            steps:
              - {call: b.three, id: first}
              - {call: b.one, after: [first]}
              - {call: b.two}
        """,
        [
            "0 {",
            "2 *two/0 since 0 ok",
            "3 *three/0 since 0 ok",
            "4 *one/0 since 3 ok",
            "4 } 3 calls, 0 failed",
        ],
    ),
    "a block with one caller is no fan-out": (
        """
        - parallel:
          - call: b.one
          - sleep: 5ms
        """,
        ["1 one/0 since 0 ok"],
    ),
    "a count inside a block is a fan-out of its own": (
        """
        - parallel:
          - {call: b.one, count: 2, max_parallel: all}
          - call: b.two
        """,
        [
            "0 {",
            "0 {",
            "1 *one/0 since 0 ok",
            "1 *one/0 since 0 ok",
            "1 } 2 calls, 0 failed",
            "2 *two/0 since 0 ok",
            "2 } 1 calls, 0 failed",
        ],
    ),
    "a repeat runs its steps over": (
        """
        - repeat:
            times: 2
            steps:
              - call: b.one
              - call: b.two
        """,
        [
            "1 one/0 since 0 ok",
            "3 two/0 since 1 ok",
            "4 one/0 since 3 ok",
            "6 two/0 since 4 ok",
        ],
    ),
    "work takes the time of its CPU": (
        "- work: 4ms\n- call: b.one",
        ["5 one/0 since 4 ok"],
    ),
    "a probability of 0 makes no call": (
        "- {call: b.one, count: 3, probability: 0}\n- call: b.two",
        ["2 two/0 since 0 ok"],
    ),
}


@pytest.mark.parametrize(("steps", "log"), STEPS.values(), ids=STEPS)
def test_a_step_makes_this_log(steps: str, log: list[str]) -> None:
    world = run(scenario(LEAF, steps=steps))
    assert world.calls == log
    assert world.outcome.status is Status.OK


def test_an_operation_answers_when_its_steps_are_done() -> None:
    assert run(scenario(LEAF, steps="- call: b.one")).log == [
        "0 [go/0",
        "0 [one/0",
        "1 ]one/0 ok",
        "1 one/0 since 0 ok",
        "1 ]go/0 ok",
    ]


def test_fail_ends_the_operation_with_an_error() -> None:
    world = run(scenario(LEAF, steps="- call: b.one\n- fail: 100%\n- call: b.two"))
    assert world.log[-2:] == ["1 one/0 since 0 ok", "1 ]go/0 error"]


def test_a_choice_takes_options_by_their_weight() -> None:
    world = run(
        scenario(
            LEAF,
            steps="""
            - choice:
              - {weight: 3, steps: [call: b.one]}
              - {weight: 1, steps: [call: b.two]}
            """,
        ),
        requests=2000,
    )
    ones = sum("one" in line for line in world.calls)
    assert len(world.calls) == 2000
    assert 1420 < ones < 1580  # binomial: 1500 ± 4 standard deviations


def test_steps_below_run_once_a_call_unless_per_item() -> None:
    once = {"b": "b:\n  operations:\n    one:\n      - {call: c.leaf}\n"}["b"]
    per_item = once.replace("c.leaf}", "c.leaf, per_item: true}")
    leaf = "c:\n  operations:\n    leaf: [sleep: 1ms]\n"
    calls = "- {call: b.one, count: 3, batch: 3}"
    assert run(scenario(once + leaf, steps=calls)).calls == [
        "1 leaf/0 since 0 ok",
        "1 one/0 x3 since 0 ok",
    ]
    assert run(scenario(per_item + leaf, steps=calls)).calls == [
        "1 leaf/0 since 0 ok",
        "2 leaf/0 since 1 ok",
        "3 leaf/0 since 2 ok",
        "3 one/0 x3 since 0 ok",
    ]


@pytest.mark.parametrize(("batch", "done_ms"), [(1, 6 * (2 + 1)), (2, 3 * (2 + 2)), (6, 2 + 6)])
def test_work_costs_a_fixed_part_and_one_for_each_item(batch: int, done_ms: int) -> None:
    callee = "b:\n  operations:\n    one:\n      - work: {cpu: 2ms, per_item: 1ms}\n"
    world = run(scenario(callee, steps=f"- {{call: b.one, count: 6, batch: {batch}}}"))
    assert world.outcome.done_ns == done_ms * 1_000_000


def test_items_draw_their_own_part_of_a_cost_in_any_batch() -> None:
    def took(batch: int) -> int | None:
        callee = "b:\n  operations:\n    one:\n      - sleep: {per_item: {exponential: 1ms}}\n"
        edge = f"- {{call: b.one, count: 12, batch: {batch}}}"
        return run(scenario(callee, steps=edge)).outcome.done_ns

    alone, batched = took(1), took(12)
    assert alone is not None
    assert batched is not None
    assert abs(alone - batched) <= 12  # each call rounds to a whole nanosecond


def test_nested_repeats_number_their_items_through() -> None:
    world = run(
        scenario(
            LEAF,
            steps="""
            - repeat:
                times: 2
                steps:
                  - repeat: {times: 3, steps: [{call: b.one, id: asked, count: 2}]}
            """,
        )
    )
    assert [sent.out.ticket.partition(";")[2] for sent in world.sent] == [
        f"asked@{n}" for n in range(12)
    ]


def test_work_on_the_loop_queues_and_in_threads_shares_the_cores() -> None:
    def at_once(where: str) -> int | None:
        return run(
            scenario(
                f"b:\n  operations:\n    one:\n      - work: {{cpu: 4ms, where: {where}}}\n",
                steps="- {call: b.one, count: 4, max_parallel: all}",
            )
        ).outcome.done_ns

    assert at_once("loop") == 16_000_000
    assert at_once("thread") == at_once("process") == 8_000_000


def test_work_on_the_loop_holds_up_everyone_in_its_process() -> None:
    world = run(
        scenario(
            """
            b:
              operations:
                work: [work: 10ms]
                sleep: [sleep: 1ms]
            """,
            steps="- parallel:\n  - call: b.work\n  - call: b.sleep",
        )
    )
    # The sleeper's call arrives while the loop is held; it is not even received before 10 ms.
    assert [line for line in world.log if "sleep" in line] == [
        "10 [sleep/0",
        "11 ]sleep/0 ok",
        "11 *sleep/0 since 0 ok",
    ]


def test_a_limit_on_workers_makes_a_queue() -> None:
    world = run(
        scenario(
            "b:\n  workers: 2\n  operations:\n    one: [sleep: 1ms]\n",
            steps="- {call: b.one, count: 5, max_parallel: all}",
        )
    )
    assert [line for line in world.log if line.startswith(("1 ]", "2 ]", "3 ]"))] == [
        "1 ]one/0 ok",
        "1 ]one/0 ok",
        "2 ]one/0 ok",
        "2 ]one/0 ok",
        "3 ]one/0 ok",
        "3 ]go/0 ok",
    ]


def test_a_failure_cancels_the_calls_beside_it() -> None:
    world = run(
        scenario(
            LEAF,
            steps="""
            - parallel:
              - call: b.three
              - call: b.bad
            """,
        )
    )
    assert world.calls == [
        "0 {",
        "1 *bad/0 since 0 error",
        "1 *three/0 since 0 cancelled",
        "1 } 2 calls, 1 failed",
    ]
    assert "1 ]three/0 cancelled" in world.log
    assert world.outcome.status is Status.ERROR
    assert world.counted("open_handlers") == 0


def test_a_publish_goes_on_at_the_acknowledgement() -> None:
    world = run(scenario(LEAF, steps="- publish: b.three\n- call: b.one"))
    assert [line for line in world.log if "three" in line or "go" in line] == [
        "0 [go/0",
        "0 three/0 since 0 ok",
        "0 [three/0",
        "1 ]go/0 ok",
        "3 ]three/0 ok",
    ]
    wires = [replica.wire for replica in world.result.replicas]
    assert sum((wire.produced for wire in wires), start=type(wires[0].produced)()) == {"b.three": 1}
    assert sum((wire.consumed for wire in wires), start=type(wires[0].consumed)()) == {"b.three": 1}


def test_a_request_reply_over_kafka_waits_for_the_reply() -> None:
    world = run(scenario(LEAF, steps="- {call: b.three, protocol: kafka}"))
    assert world.calls == ["3 three/0 since 0 ok"]
    caller, callee = (replica.wire for replica in world.result.replicas)
    assert caller.produced == callee.consumed == {"b.three": 1}
    assert callee.produced == caller.consumed == {"reply.a.0": 1}
