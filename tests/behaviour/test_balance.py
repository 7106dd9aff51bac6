"""Balancers, by what they pick."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.behaviour.balance import LeastPending, Random, RoundRobin, another
from services.clocks.virtual import run_virtual
from services.scenario.chance import request_key
from services.slots import Slots


@pytest.mark.parametrize(
    ("first", "picks"), [(0, [0, 1, 2, 0]), (1, [1, 2, 0, 1]), (5, [2, 0, 1, 2])]
)
def test_callers_start_their_turns_at_their_own_number(first: int, picks: list[int]) -> None:
    balancer = RoundRobin(3, first)
    assert [balancer.pick(0, 0) for _ in picks] == picks


def test_least_pending_spreads_ties_and_avoids_the_busy() -> None:
    balancer = LeastPending(3, 0)
    idle = [balancer.pick(0, 0) for _ in range(4)]
    balancer.start(1)
    busy = [balancer.pick(0, 0) for _ in range(4)]
    balancer.end(1)
    balancer.start(0)
    balancer.start(2)
    assert (idle, busy, balancer.pick(0, 0)) == ([0, 1, 2, 0], [2, 0, 2, 0], 1)


def test_random_draws_again_for_every_attempt() -> None:
    balancer = Random(4)
    key = request_key(1, 1)
    picks = [balancer.pick(key, attempt) for attempt in range(40)]
    assert picks == [balancer.pick(key, attempt) for attempt in range(40)]
    assert set(picks) == {0, 1, 2, 3}


@given(st.integers(2, 9).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n - 1))))
def test_another_replica_is_any_but_the_first(case: tuple[int, int]) -> None:
    replicas, first = case
    others = {another(first, replicas, u / 1000) for u in range(1000)}
    assert others == set(range(replicas)) - {first}


def test_slots_go_to_who_waited_longest_and_none_is_lost_to_the_cancelled() -> None:

    log: list[str] = []

    async def main() -> int:
        slots = Slots(1)

        async def visitor(name: str) -> None:
            await slots.take()
            log.append(name)
            await asyncio.sleep(1)
            slots.give()

        tasks = [asyncio.ensure_future(visitor(name)) for name in "abcd"]
        await asyncio.sleep(0.5)
        tasks[1].cancel()  # while it waits
        await asyncio.sleep(0.5)
        tasks[2].cancel()  # just when its turn has come
        await asyncio.wait(tasks)
        return slots.free

    assert run_virtual(main()) == 1
    assert log in (["a", "d"], ["a", "c", "d"])
