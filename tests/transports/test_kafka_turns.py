"""Who of a partition's messages is handled when: order, how many at once, and what waits."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from time import monotonic_ns, time_ns
from uuid import uuid4

import pytest
from aiokafka import TopicPartition

from services.scenario.model import Ordering
from services.transports.kafka.link import HOLD_AT, Held
from services.transports.kafka.partitions import AT_ONCE
from services.transports.site import Broker
from services.wire.ports import Incoming, Reply, Status
from tests.transports.build import Run, outgoing, running, wire

KEY, OTHER = "a", "c"
"""Of different partitions."""


@pytest.fixture
def place() -> str:
    """An operation that no other test has: topics outlive a test on a shared broker."""
    return f"turns-{uuid4().hex[:8]}.do"


class Gate:
    """A handler that lets everybody in, and out when it is opened."""

    def __init__(self) -> None:
        self.inside: list[Incoming] = []
        self.most: dict[str | None, int] = defaultdict(int)
        self.began: list[Incoming] = []
        self.opened = asyncio.Event()
        self._more = asyncio.Condition()

    async def __call__(self, incoming: Incoming) -> Reply:
        async with self._more:
            self.inside.append(incoming)
            self.began.append(incoming)
            alike = sum(other.key == incoming.key for other in self.inside)
            self.most[incoming.key] = max(self.most[incoming.key], alike)
            self._more.notify_all()
        await self.opened.wait()
        await asyncio.sleep(0)
        self.inside.remove(incoming)
        return Reply(Status.OK, incoming.response_bytes)

    async def until(self, count: int) -> None:
        async with self._more:
            await self._more.wait_for(lambda: len(self.began) >= count)


@pytest.mark.parametrize(("ordering", "at_once"), [("none", 8), ("partition", 1)])
def test_a_partition_is_handled_in_order_only_where_that_is_asked_for(
    ordering: Ordering, at_once: int, place: str, run: Run, broker: Broker
) -> None:
    async def main() -> None:
        gate = Gate()
        to = wire("kafka", place, mode="publish", ordering=ordering)
        async with running(to, broker=broker, handler=gate) as it:
            for number in range(8):
                for key in (KEY, OTHER):
                    await it.transport.publish(outgoing(to, key=key, request_bytes=100 + number))
            await gate.until(2 * at_once)
            gate.opened.set()
            await gate.until(16)
        assert gate.most == {KEY: at_once, OTHER: at_once}
        for key in (KEY, OTHER):
            sizes = [of.request_bytes for of in gate.began if of.key == key]
            assert sizes == [100 + number for number in range(8)]

    run(main)


def test_what_waits_for_its_turn_says_how_long(place: str, run: Run, broker: Broker) -> None:
    async def main() -> None:
        gate = Gate()
        to = wire("kafka", place, mode="publish", ordering="partition")
        async with running(to, broker=broker, handler=gate) as it:
            for _ in range(3):
                await it.transport.publish(outgoing(to, key=KEY))
            await gate.until(1)
            before_ns = monotonic_ns()
            # Behind the first on their partition: what is sent later to another is handled first.
            await it.transport.publish(outgoing(to, key=OTHER))
            await gate.until(2)
            opened_ns = monotonic_ns()
            gate.opened.set()
            await gate.until(4)
        first, second, *others = gate.began
        assert (first.held_ns, second.held_ns) == (0, 0)
        assert [of.key for of in (first, second, *others)] == [KEY, OTHER, KEY, KEY]
        for waited in others:
            assert waited.received_ns + waited.held_ns >= opened_ns
            assert waited.held_ns > 0
        assert before_ns < second.received_ns

    run(main)


def test_a_message_is_consumed_when_it_is_its_turn(place: str, run: Run, broker: Broker) -> None:
    """Or else a round would end while messages wait."""

    async def main() -> None:
        gate = Gate()
        to = wire("kafka", place, mode="publish", ordering="partition")
        async with running(to, broker=broker, handler=gate) as it:
            for _ in range(3):
                await it.transport.publish(outgoing(to, key=KEY))
            await gate.until(1)
            assert it.counters.produced[to.topic] == 3
            assert it.counters.consumed[to.topic] == 1
            gate.opened.set()
            await gate.until(3)
            assert it.counters.consumed[to.topic] == 3

    run(main)


def test_a_partition_that_falls_behind_is_not_read_on(place: str, run: Run, broker: Broker) -> None:
    async def main() -> None:
        gate = Gate()
        to = wire("kafka", place, mode="publish")
        count = HOLD_AT + 3 * AT_ONCE
        async with running(to, broker=broker, handler=gate) as it:
            sent = [
                asyncio.create_task(it.transport.publish(outgoing(to, key=KEY)))
                for _ in range(count)
            ]
            await asyncio.gather(*sent)
            await gate.until(AT_ONCE)
            # Other partitions are read all the same.
            await it.transport.publish(outgoing(to, key=OTHER))
            await gate.until(AT_ONCE + 1)
            here = len(it.listeners[f"{to.callee}/0"]._open)  # type: ignore[attr-defined]
            assert len(gate.inside) == AT_ONCE + 1
            assert here <= HOLD_AT + AT_ONCE + 1
            opened_ns = monotonic_ns()
            gate.opened.set()
            await gate.until(count + 1)
        assert gate.most[KEY] == AT_ONCE
        # Those that were left in the broker came before the gate was opened, and waited for it.
        late = [of for of in gate.began[HOLD_AT + AT_ONCE + 1 :] if of.key == KEY]
        assert late
        assert all(of.received_ns < opened_ns < of.received_ns + of.held_ns for of in late)

    run(main)


def test_a_deadline_counts_the_wait_in_the_broker(place: str, run: Run, broker: Broker) -> None:
    async def main() -> None:
        gate = Gate()
        gate.opened.set()
        to = wire("kafka", place)
        async with running(to, broker=broker, handler=gate) as it:
            before_ns = monotonic_ns()
            await it.transport.call(outgoing(to, key=KEY, timeout_ns=5 * 10**9))
        (came,) = gate.began
        assert came.timeout_ns is not None
        ends_ns = came.received_ns + came.timeout_ns
        # Two clocks are read one after the other: a millisecond is plenty for that.
        assert before_ns - 10**6 <= ends_ns - 5 * 10**9 < came.received_ns

    run(main)


class Paused:
    """A consumer of one partition, as far as holding it needs one."""

    def __init__(self) -> None:
        self.now_paused: set[TopicPartition] = set()

    def pause(self, partition: TopicPartition) -> None:
        self.now_paused.add(partition)

    def resume(self, partition: TopicPartition) -> None:
        self.now_paused.discard(partition)

    def paused(self) -> set[TopicPartition]:
        return self.now_paused

    def assignment(self) -> set[TopicPartition]:
        return {PARTITION}


PARTITION = TopicPartition("turns.do", 0)


async def _read(held: Held, count: int, sent_ms: int) -> tuple[int, list[asyncio.Task[None]]]:
    """So many records that were all sent then: how many were waiting while the partition was held,
    and what ends when each is handled."""
    waited, open_ = 0, []
    for _ in range(count):
        waited += held.since(PARTITION, sent_ms) is not None
        task = asyncio.create_task(asyncio.sleep(3600))
        held.took(PARTITION, task)
        open_.append(task)
    return waited, open_


async def _handled(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def test_all_that_came_while_nobody_read_waited_however_it_is_read_then(run: Run) -> None:
    async def main() -> None:
        consumer = Paused()
        held = Held(consumer)
        long_ago = time_ns() // 1_000_000 - 1_000
        none, first = await _read(held, HOLD_AT, long_ago)
        assert none == 0
        assert consumer.paused() == {PARTITION}
        now = time_ns() // 1_000_000
        await asyncio.sleep(0.005)
        await _handled(first[:AT_ONCE])
        assert not consumer.paused()
        some, second = await _read(held, 300, now)
        # The partition is held again in the middle of these.
        more, third = await _read(held, AT_ONCE, now)
        assert (some, more) == (300, AT_ONCE)
        assert consumer.paused() == {PARTITION}
        await _handled([*first[AT_ONCE:], *second, *third])
        await asyncio.sleep(0.005)
        fresh, last = await _read(held, 1, time_ns() // 1_000_000)
        assert fresh == 0
        await _handled(last)

    run(main)


def test_a_partition_that_a_group_gives_out_anew_is_held_again(run: Run) -> None:
    async def main() -> None:
        consumer = Paused()
        held = Held(consumer)
        _, first = await _read(held, HOLD_AT + 400, 0)
        consumer.now_paused.clear()
        _, second = await _read(held, 1, 0)
        assert consumer.paused() == {PARTITION}
        await _handled([*first, *second])
        assert not consumer.paused()

    run(main)
