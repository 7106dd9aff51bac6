"""Faults: scope and time."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from typing import Literal
from weakref import ref

import pytest

from services.behaviour import Behaviour
from services.telemetry.lean import NullTelemetry
from services.wire.ports import Cancellable, Status
from services.wire.topology import topology
from tests.behaviour.world import LEAF, run, scenario, took_ns

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
    slow = [o.number for o in world.result.outcomes if took_ns(o) == 11_000_000]
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
    took = [took_ns(o) // 1_000_000 for o in world.result.outcomes]
    assert {ms: 70 < took.count(ms) < 130 for ms in (1, 2, 3, 4)} == dict.fromkeys(
        (1, 2, 3, 4), True
    )


def test_a_reset_gives_the_caller_no_answer() -> None:
    world = run(
        scenario(
            LEAF,
            steps="- {call: b.one, retry: {max: 1, backoff: 1ms}}",
            rest="faults:\n  - {reset: 100%, at: {service: b}}\n",
        )
    )
    assert [line.split()[-1] for line in world.calls if "one/" in line] == ["unavailable"] * 2
    assert world.counted("faults_fired") == 2
    assert world.outcome.status is Status.ERROR


def test_a_reset_over_kafka_is_noticed_by_the_callers_timeout() -> None:
    world = run(
        scenario(
            LEAF,
            steps="- {call: b.one, protocol: kafka, timeout: 50ms, on_error: ignore}",
            rest="faults:\n  - {reset: 100%, at: {service: b}}\n",
        )
    )
    assert took_ns(world.outcome) == 50_000_000


def test_a_pause_holds_up_everything_of_one_replica_once() -> None:
    world = run(
        scenario(
            LEAF,
            steps="- call: b.one",
            rest="faults:\n  - {pause: 1500ms, at: {service: b}, from: 1900ms}\n",
        ),
        requests=6,
        measured_from_ms=0,
    )
    # Requests come each second and take 1 ms; b stands still from 1.9 s to 3.4 s.
    took = [took_ns(o) // 1_000_000 for o in world.result.outcomes]
    assert took == [1, 1, 1401, 401, 1, 1]
    assert world.counted("faults_fired") == 1


class Standing:
    """A clock on which everything is due at once, and a pause lasts until it is told to end."""

    kind: Literal["wall", "virtual"] = "virtual"

    def __init__(self) -> None:
        self.pauses: list[ref[asyncio.Future[None]]] = []
        self.ended = 0

    def now_ns(self) -> int:
        return 0

    async def sleep(self, ns: int) -> None:
        raise NotImplementedError

    async def cpu(self, ns: int, where: Literal["loop", "thread", "process"]) -> None:
        raise NotImplementedError

    async def pause(self, ns: int) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # Nothing but who waits for it keeps it alive.
        self.pauses.append(ref(done))
        await done
        self.ended += 1

    def call_later(self, ns: int, callback: Callable[[], object]) -> Cancellable:
        return asyncio.get_running_loop().call_soon(callback)


def test_two_pauses_at_once_are_both_held_until_they_end() -> None:
    world = scenario(
        LEAF,
        steps="- call: b.one",
        rest="faults:\n"
        "  - {pause: 1s, at: {service: b}, from: 0s}\n"
        "  - {pause: 2s, at: {service: b}, from: 0s}\n",
    )
    numbered, clock = topology(world), Standing()

    async def once() -> None:
        behaviour = Behaviour(
            world,
            "b",
            0,
            topology=numbered,
            clock=clock,
            telemetry=NullTelemetry(numbered, "b", 0, clock),
            transports={},
            round_seed=1,
        )
        behaviour.begin(0, 0)
        while len(clock.pauses) < 2:  # noqa: ASYNC110  # as many turns of the loop as it takes
            await asyncio.sleep(0)
        gc.collect()
        held = [pause() for pause in clock.pauses]
        for pause in held:
            assert pause is not None, "a pause was forgotten before it ended"
            pause.set_result(None)
        while clock.ended < 2:  # noqa: ASYNC110
            await asyncio.sleep(0)
        assert behaviour.counters.faults_fired == 2

    asyncio.run(once())
