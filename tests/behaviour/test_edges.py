"""Attempts: timeouts, deadlines, retries, hedges, and what becomes of a failure."""

from __future__ import annotations

import asyncio
from collections import Counter

from services.behaviour.replica import Alarm
from services.clocks.virtual import VirtualClock, run_virtual, virtual_loop
from services.scenario.model import Scenario
from services.transports.kafka.partitions import partition_for, reader
from services.wire.ports import Status
from tests.behaviour.world import LEAF, World, run, scenario, took_ns

TWO_REPLICAS = """
b:
  replicas: 2
  operations:
    one: [sleep: 1ms]
"""
SLOW_REPLICA = """
faults:
  - {latency: 50ms, at: {service: b, replica: 0}}
"""


def test_an_edges_timeout_ends_the_attempt_and_the_callee() -> None:
    world = run(scenario(LEAF, steps="- {call: b.three, timeout: 2ms}"))
    assert world.log == [
        "0 [go/0",
        "0 [three/0",
        "2 ]three/0 timeout",
        "2 three/0 since 0 timeout",
        "2 ]go/0 error",
    ]
    assert world.counted("timeouts") == 1
    assert world.counted("open_handlers") == 0


def test_the_deadline_goes_downstream_less_what_was_used() -> None:
    world = run(
        scenario(
            "b: {operations: {one: [{sleep: 1ms}, {call: c.leaf, timeout: 50ms}]}}\n"
            "c: {operations: {leaf: [{sleep: 1ms}]}}",
            steps="- sleep: 2ms\n- {call: b.one, timeout: 20ms}\n- call: c.leaf",
            entry=", timeout: 100ms",
        )
    )
    left = {(s.at_ns // 1_000_000, s.out.wire.operation): s.out.timeout_ns for s in world.sent}
    assert left == {
        (2, "one"): 20_000_000,
        (3, "leaf"): 19_000_000,
        (4, "leaf"): 96_000_000,
    }


def test_a_passed_deadline_cancels_all_the_way_down() -> None:
    chain = "\n".join(f"s{i}: {{operations: {{go: [{{call: s{i + 1}.go}}]}}}}" for i in range(1, 5))
    world = run(
        scenario(
            f"{chain}\ns5: {{operations: {{go: [sleep: 50ms]}}}}",
            steps="- call: s1.go\n- call: s1.go",
            entry=", timeout: 20ms",
        )
    )
    assert world.outcome.status is Status.TIMEOUT
    assert world.outcome.done_ns == 20_000_000
    assert set(world.log) == {
        "0 [go/0",
        "20 ]go/0 timeout",
        "20 go/0 since 0 timeout",
    }
    assert len(world.calls) == 5


def test_an_alarm_does_not_swallow_the_cancellation_of_others() -> None:
    log: list[str] = []

    async def work(clock: VirtualClock) -> None:
        alarm = Alarm(clock, 5_000_000)
        try:
            await clock.sleep(9_000_000)
        except asyncio.CancelledError:
            log.append("mine" if alarm.close() else "not mine alone")

    async def main() -> None:
        clock = VirtualClock(virtual_loop())
        for also_cancelled in (False, True):
            task = asyncio.ensure_future(work(clock))
            await asyncio.sleep(0)
            if also_cancelled:
                clock.call_later(5_000_000, task.cancel)
            await task

    run_virtual(main())
    assert log == ["mine", "not mine alone"]


def test_a_group_that_failed_leaves_later_deadlines_their_cancellations() -> None:
    # Callee and caller are one task here, as a failed group is history when the deadline passes.
    world = run(
        scenario(
            LEAF + "\nc:\n  operations:\n    pair: [parallel: [{call: b.bad}, {call: b.two}]]",
            steps="- {call: c.pair, on_error: ignore}\n- sleep: 50ms",
            entry=", timeout: 20ms",
        )
    )
    assert world.outcome.status is Status.TIMEOUT
    assert world.outcome.done_ns == 20_000_000
    assert world.counted("failed_groups") == 1


def test_a_caller_that_gives_up_takes_no_message_back() -> None:
    world = run(
        scenario(LEAF, steps="- {call: b.three, protocol: kafka, timeout: 1ms, on_error: ignore}")
    )
    assert world.log == [
        "0 [go/0",
        "0 [three/0",
        "1 three/0 since 0 timeout",
        "1 ]go/0 ok",
        "1 ]three/0 timeout",
    ]
    produced = sum((r.wire.produced for r in world.result.replicas), start=Counter())
    consumed = sum((r.wire.consumed for r in world.result.replicas), start=Counter())
    assert produced == consumed == {"b.three": 1, "reply.a.0": 1}


def test_a_message_has_no_deadline() -> None:
    world = run(scenario(LEAF, steps="- publish: b.three", entry=", timeout: 2ms"))
    assert world.log[-1] == "3 ]three/0 ok"


def test_a_failed_attempt_is_repeated_with_growing_waits() -> None:
    world = run(scenario(LEAF, steps="- {call: b.bad, retry: {max: 2, backoff: 10ms, jitter: 0}}"))
    assert world.calls == [
        "1 bad/0 since 0 error",
        "12 bad/0 since 11 attempt 1 error",
        "33 bad/0 since 32 attempt 2 error",
    ]
    assert (world.counted("retries"), world.counted("errors")) == (2, 3)
    assert world.outcome.status is Status.ERROR


def test_jitter_shortens_a_wait_by_at_most_its_share() -> None:
    world = run(
        scenario(LEAF, steps="- {call: b.bad, retry: {max: 1, backoff: 10ms, jitter: 40%}}"),
        requests=300,
    )
    waits = [s.at_ns % 1_000_000_000 - 1_000_000 for s in world.sent if s.out.attempt == 1]
    assert len(waits) == 300
    assert len(set(waits)) > 290
    assert 6_000_000 <= min(waits) < 6_500_000
    assert 9_500_000 < max(waits) <= 10_000_000


def test_no_retry_begins_that_the_deadline_would_not_let_begin() -> None:
    world = run(
        scenario(
            LEAF,
            steps="- {call: b.bad, retry: {max: 5, backoff: 10ms, jitter: 0}}",
            entry=", timeout: 20ms",
        )
    )
    assert world.calls == ["1 bad/0 since 0 error", "12 bad/0 since 11 attempt 1 error"]
    assert world.outcome.done_ns == 12_000_000


def test_a_timed_out_attempt_is_repeated_with_a_timeout_of_its_own() -> None:
    world = run(
        scenario(
            LEAF, steps="- {call: b.three, timeout: 2ms, retry: {max: 1, backoff: 1ms, jitter: 0}}"
        )
    )
    assert world.calls == ["2 three/0 since 0 timeout", "5 three/0 since 3 attempt 1 timeout"]


def test_the_budget_bounds_retries_to_a_share_of_calls() -> None:
    world = run(
        scenario(
            LEAF,
            steps="- {call: b.bad, retry: {max: 3, backoff: 1ms, budget: 20%}}",
        ),
        requests=100,
    )
    assert world.counted("retries") == 20
    assert len(world.sent) == 120


def test_ignored_failures_let_the_caller_go_on() -> None:
    world = run(scenario(LEAF, steps="- {call: b.bad, on_error: ignore}\n- call: b.one"))
    assert world.calls == ["1 bad/0 since 0 error", "2 one/0 since 1 ok"]
    assert world.outcome.status is Status.OK


def test_a_fallback_runs_in_place_of_a_failed_call() -> None:
    world = run(
        scenario(
            LEAF,
            steps="""
            - call: b.bad
              count: 2
              on_error: {fallback: [call: b.two]}
            """,
        )
    )
    assert world.calls == [
        "1 bad/0 since 0 error",
        "3 two/0 since 1 ok",
        "4 bad/0 since 3 error",
        "6 two/0 since 4 ok",
    ]
    tickets = [s.out.ticket for s in world.sent if s.out.wire.operation == "two"]
    assert len(set(tickets)) == 2  # each with choices of its own


def hedged(after: str, *, faults: str = SLOW_REPLICA, requests: int = 1) -> World:
    return run(
        scenario(
            TWO_REPLICAS,
            # The request goes on for longer than any attempt: what is left behind would show.
            steps=f"- {{call: b.one, hedge: {{after: {after}}}}}\n- sleep: 1s",
            rest=faults,
        ),
        requests=requests,
        every_ms=2000,
    )


def test_a_hedge_wins_at_another_replica_and_the_loser_is_cancelled() -> None:
    world = hedged("10ms")
    assert world.log == [
        "0 [go/0",
        "0 [one/0",
        "10 [one/1",
        "11 ]one/1 ok",
        "11 one/1 since 10 attempt 1 ok",
        "11 ]one/0 cancelled",
        "11 one/0 since 0 cancelled",
        "1011 ]go/0 ok",
    ]
    assert world.counted("errors") == world.counted("open_handlers") == 0


def test_a_hedge_that_comes_too_late_loses() -> None:
    world = hedged("50500us")
    assert world.calls == [
        "51 one/0 since 0 ok",
        "51 one/1 since 50.5 attempt 1 cancelled",
    ]


def test_a_fast_answer_needs_no_hedge() -> None:
    assert hedged("10ms", faults="").calls == ["1 one/0 since 0 ok"]


def test_a_failed_first_attempt_leaves_it_to_the_hedge() -> None:
    faults = """
    faults:
      - {latency: 20ms, at: {service: b, replica: 0}}
      - {error: 100%, at: {service: b, replica: 0}}
      - {latency: 20ms, at: {service: b, replica: 1}}
    """
    world = hedged("5ms", faults=faults)
    assert world.calls == ["20 one/0 since 0 error", "26 one/1 since 5 attempt 1 ok"]
    assert world.outcome.status is Status.OK


def test_a_bad_answer_does_not_win() -> None:
    faults = """
    faults:
      - {latency: 20ms, at: {service: b, replica: 0}}
      - {error: 100%, at: {service: b, replica: 1}}
    """
    world = hedged("5ms", faults=faults)
    assert world.calls == ["5 one/1 since 5 attempt 1 error", "21 one/0 since 0 ok"]


def test_a_hedge_and_its_first_attempt_end_with_the_deadline() -> None:
    world = run(
        scenario(
            TWO_REPLICAS,
            steps="- {call: b.one, hedge: {after: 5ms}}",
            rest="faults:\n  - {latency: 1s, at: {service: b}}\n",
            entry=", timeout: 20ms",
        )
    )
    assert sorted(world.calls) == [
        "20 one/0 since 0 timeout",
        "20 one/1 since 5 attempt 1 timeout",
    ]
    assert world.outcome.status is Status.TIMEOUT
    assert world.counted("open_handlers") == 0


def test_a_p95_hedge_overtakes_the_rare_slow_call_once_there_is_a_p95() -> None:
    faults = "faults:\n  - {latency: 50ms, probability: 2%, at: {service: b}}\n"
    world = hedged("p95", faults=faults, requests=600)
    slow = [round(s.at_ns / 2e9) for s in world.sent if s.out.attempt == 1]
    assert len(slow) >= 5
    assert min(slow) >= 72  # requests: fewer do not identify a P95
    took = [took_ns(o) - 1_000_000_000 for o in world.result.outcomes if o.number in slow]
    # The P95 is 1 ms, so a hedge starts right then and takes 1 ms, unless it is slow as well.
    assert took.count(2_000_001) >= len(took) - 1


def world_with(edge: str, replicas: int = 3, balance: str = "round_robin") -> Scenario:
    return scenario(
        f"b: {{replicas: {replicas}, balance: {balance}, operations: {{one: [sleep: 1ms]}}}}",
        steps=f"- {{call: b.one{edge}}}",
    )


def test_round_robin_goes_round() -> None:
    world = run(world_with(", count: 6"))
    assert [s.out.replica for s in world.sent] == [0, 1, 2, 0, 1, 2]


def test_random_balance_is_the_same_in_every_run() -> None:
    first, second = (
        [s.out.replica for s in run(world_with("", balance="random"), requests=300).sent]
        for _ in range(2)
    )
    assert first == second
    assert all(70 < first.count(replica) < 130 for replica in range(3))


def test_least_pending_avoids_the_replica_that_is_held_up() -> None:
    world = run(
        scenario(
            "b: {replicas: 3, balance: least_pending, operations: {one: [sleep: 1ms]}}",
            steps="""
            - parallel:
              - {call: b.one}
              - repeat: {times: 6, steps: [call: b.one]}
            """,
            rest=SLOW_REPLICA,
        )
    )
    assert [s.out.replica for s in world.sent if s.at_ns < 6_000_000].count(0) == 1


def test_sizes_add_up_over_the_items_and_do_not_hang_on_batches() -> None:
    def total(batch: int) -> tuple[int, int, int]:
        world = run(
            world_with(
                f", count: 10, batch: {batch}, request: {{uniform: [10B, 1000B]}}, response: 7B"
            )
        )
        return (
            len(world.sent),
            sum(s.out.request_bytes for s in world.sent),
            sum(s.out.response_bytes for s in world.sent),
        )

    calls, request, response = total(1)
    assert (calls, response) == (10, 70)
    assert total(3) == (4, request, 70)
    assert total(10) == (1, request, 70)


def test_keys_come_from_the_declared_number_of_distinct_ones() -> None:
    world = run(world_with(", count: 200, key: {distinct: 5}"))
    assert {s.out.key for s in world.sent} == {"0", "1", "2", "3", "4"}


def test_a_call_that_carries_several_items_has_no_key() -> None:
    world = run(world_with(", count: 5, batch: 2, key: {distinct: 5}"))
    assert [s.out.key is None for s in world.sent] == [True, True, False]


def test_a_key_goes_to_the_replica_that_reads_its_partition_as_over_a_broker() -> None:
    world = run(
        scenario(
            "b: {replicas: 3, operations: {one: [sleep: 1ms]}}",
            steps="- {publish: b.one, count: 40, key: {distinct: 9}, kafka: {partitions: 5}}",
        )
    )
    went = [line.split("[one/")[1] for line in world.log if "[one/" in line]
    keys = [str(sent.out.key) for sent in world.sent]
    assert went == [str(reader(partition_for(key.encode(), "", 5), 3)) for key in keys]
    assert set(went) == {"0", "1", "2"}
