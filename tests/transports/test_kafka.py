"""What Kafka alone promises; with HOPBENCH_TEST_KAFKA=HOST:PORT also against a real broker."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Literal
from uuid import uuid4

import pytest

from services import transports
from services.doubts import Code, Doubt
from services.errors import CannotStart
from services.system.death import BUG
from services.transports.kafka.partitions import partition_for, share
from services.transports.site import Broker, BrokerKind
from services.wire.ports import Incoming, Reply, Status, TraceContext, Wire
from tests.transports.build import (
    TICKET,
    Recorder,
    Run,
    outgoing,
    running,
    wire,
)
from tests.transports.conftest import BrokerProcess

ROOT = Path(__file__).parents[2]


@pytest.fixture
def place() -> str:
    """An operation that no other test has: topics outlive a test on a shared broker."""
    return f"b-{uuid4().hex[:8]}.reserve"


def test_a_published_message_arrives_as_it_was_sent(place: str, run: Run, broker: Broker) -> None:
    async def main() -> None:
        recorder = Recorder()
        trace = TraceContext(5, 6, False)
        to = wire("kafka", place, mode="publish")
        async with running(to, broker=broker, recorder=recorder) as it:
            reply = await it.transport.publish(
                outgoing(to, key="k7", request_bytes=33, attempt=1, trace=trace)
            )
            await recorder.until(1)
        assert reply == Reply(Status.OK, 0)
        assert replace(recorder.last, received_ns=0) == Incoming(
            service=to.callee,
            operation="reserve",
            protocol="kafka",
            mode="publish",
            ticket=TICKET,
            key="k7",
            request_bytes=33,
            response_bytes=20,
            timeout_ns=None,
            attempt=1,
            trace=trace,
            received_ns=0,
            peer="a/0",
        )

    run(main)


@pytest.mark.parametrize("acks", ["0", "1", "all"])
def test_every_kind_of_acknowledgement_delivers(
    acks: Literal["0", "1", "all"], place: str, run: Run, broker: Broker
) -> None:
    async def main() -> None:
        recorder = Recorder()
        to = wire("kafka", place, mode="publish", acks=acks)
        async with running(to, broker=broker, recorder=recorder) as it:
            for _ in range(50):
                assert (await it.transport.publish(outgoing(to))).status is Status.OK
            await recorder.until(50)
            assert it.counters.produced == it.counters.consumed == {to.topic: 50}

    run(main)


def test_replicas_share_the_partitions_and_a_key_keeps_to_one(
    place: str, run: Run, broker: Broker
) -> None:
    async def main() -> None:
        recorder = Recorder()
        to = wire("kafka", place, partitions=3)
        async with running(to, broker=broker, replicas=2, recorder=recorder) as it:
            keys = [str(number) for number in range(40)] * 2
            for key in keys:
                assert (await it.transport.call(outgoing(to, key=key))).status is Status.OK
        places = defaultdict(set)
        for at, incoming in recorder.seen:
            places[incoming.key].add(at)
        assert len(recorder.seen) == len(keys)
        assert {key: {f"{to.callee}/{partition_for(key.encode(), '', 3) % 2}"} for key in keys} == (
            places
        )
        assert set.union(*places.values()) == {f"{to.callee}/0", f"{to.callee}/1"}

    run(main)


@pytest.mark.parametrize(
    ("partitions", "replicas", "shares"),
    [
        (4, 1, [[0, 1, 2, 3]]),
        (4, 2, [[0, 2], [1, 3]]),
        (3, 2, [[0, 2], [1]]),
        (1, 3, [[0], [], []]),
    ],
)
def test_replica_r_takes_the_partitions_p_with_p_mod_replicas_equal_to_r(
    partitions: int, replicas: int, shares: list[list[int]]
) -> None:
    assert [list(share(partitions, r, replicas)) for r in range(replicas)] == shares


def test_unkeyed_messages_spread_by_their_tickets_and_repeatably() -> None:
    tickets = [f"{number:016x};entry@0" for number in range(400)]
    counts = [[partition_for(None, text, 4) for text in tickets].count(p) for p in range(4)]
    assert min(counts) > 60
    assert partition_for(None, tickets[0], 4) == 0


@pytest.mark.parametrize(
    ("key", "hashed"),
    [
        (b"21", -973932308),
        (b"abc", 479470107),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
    ],
)
def test_a_key_goes_where_kafkas_own_clients_put_it(key: bytes, hashed: int) -> None:
    """Hashes as in Kafka's own UtilsTest, made positive as its partitioner does."""
    assert partition_for(key, "", 1000) == (hashed & 0x7FFFFFFF) % 1000


def test_what_was_there_before_is_not_read(place: str, run: Run, broker: Broker) -> None:
    async def main() -> None:
        first, second = Recorder(), Recorder()
        to = wire("kafka", place, mode="publish")
        async with running(to, broker=broker, recorder=first) as it:
            await it.transport.publish(outgoing(to, key="before"))
            await first.until(1)
        async with running(to, broker=broker, recorder=second) as it:
            await it.transport.publish(outgoing(to, key="after"))
            await second.until(1)
        assert second.last.key == "after"

    run(main)


def test_rounds_that_overlap_leave_each_others_messages_alone(
    place: str, run: Run, broker: Broker
) -> None:
    async def main() -> None:
        first, second = Recorder(), Recorder()
        to = wire("kafka", place)
        async with (
            running(to, broker=broker, round="1", recorder=first) as one,
            running(to, broker=broker, round="2", recorder=second) as two,
        ):
            assert (await one.transport.call(outgoing(to, key="one"))).status is Status.OK
            assert (await two.transport.call(outgoing(to, key="two"))).status is Status.OK
            for it in (one, two):
                assert it.counters.produced == it.counters.consumed
        assert [incoming.key for _, incoming in first.seen] == ["one"]
        assert [incoming.key for _, incoming in second.seen] == ["two"]

    run(main)


def test_a_reply_that_nobody_waits_for_is_counted_and_dropped(
    place: str, run: Run, broker: Broker
) -> None:
    async def main() -> None:
        entered, go_on = asyncio.Event(), asyncio.Event()

        async def handler(incoming: Incoming) -> Reply:
            if incoming.key == "late":
                entered.set()
                await go_on.wait()
            return Reply(Status.OK, incoming.response_bytes)

        to = wire("kafka", place)
        async with running(to, broker=broker, handler=handler) as it:
            late = asyncio.create_task(it.transport.call(outgoing(to, key="late")))
            await entered.wait()
            late.cancel()
            await asyncio.gather(late, return_exceptions=True)
            go_on.set()
            # The same partition, so the reply to this call comes after the late one.
            call = outgoing(to, key="late", response_bytes=21)
            assert await it.transport.call(call) == Reply(Status.OK, 21)
            assert it.counters.consumed == {to.topic: 2, "reply.a.0": 2}

    run(main)


@pytest.mark.real
def test_a_message_that_is_too_large_fails_its_call_and_not_the_next(
    place: str, run: Run, real_kafka: Broker
) -> None:
    async def main() -> None:
        to = wire("kafka", place)
        async with running(to, broker=real_kafka) as it:
            reply = await it.transport.call(outgoing(to, request_bytes=2 * 1024 * 1024))
            assert reply.status is Status.ERROR
            assert it.counters.produced[to.topic] == 0
            assert (await it.transport.call(outgoing(to))).status is Status.OK

    run(main)


@pytest.mark.real
def test_a_topic_that_has_too_few_partitions_gets_more(
    place: str, run: Run, real_kafka: Broker
) -> None:
    async def main() -> None:
        for partitions in (1, 6, 2):
            recorder = Recorder()
            to = wire("kafka", place, partitions=partitions)
            async with running(to, broker=real_kafka, replicas=2, recorder=recorder) as it:
                for number in range(30):
                    await it.transport.call(outgoing(to, key=str(number)))
                used = {partition_for(b"%d" % n, "", partitions) % 2 for n in range(30)}
                assert {at for at, _ in recorder.seen} == {f"{to.callee}/{r}" for r in used}
                assert Code.BROKER_CANNOT not in [doubt.code for doubt in it.counters.doubts]

    run(main)


@pytest.mark.parametrize(
    ("to", "codes"),
    [
        (wire("kafka", "doubts.plain"), []),
        (wire("kafka", "doubts.few", partitions=1), []),
        (wire("kafka", "doubts.many", partitions=5), [Code.BROKER_CANNOT]),
        (wire("kafka", "doubts.all", acks="all"), [Code.BROKER_CANNOT]),
        (wire("kafka", "doubts.none", acks="0"), [Code.BROKER_CANNOT]),
        (wire("kafka", "doubts.both", acks="0", partitions=9), [Code.BROKER_CANNOT] * 2),
    ],
)
def test_what_the_embedded_broker_cannot_do_is_a_doubt(
    to: Wire, codes: list[Code], run: Run, embedded: Broker
) -> None:
    async def main() -> None:
        async with running(to, broker=embedded) as it:
            assert [doubt.code for doubt in it.counters.doubts] == codes

    run(main)


def test_a_replica_without_a_partition_is_a_doubt(place: str, run: Run, broker: Broker) -> None:
    async def main() -> None:
        to = wire("kafka", place, partitions=1)
        async with running(to, broker=broker, replicas=2) as it:
            (doubt,) = it.counters.doubts
        assert doubt == Doubt(
            Code.IDLE_REPLICA,
            f"{to.callee}/1 gets nothing from {to.topic}: 1 partitions for 2 replicas",
        )

    run(main)


@pytest.mark.parametrize("kind", ["embedded", "kafka"])
def test_no_broker_cannot_be_connected_to(kind: BrokerKind, run: Run) -> None:
    async def main() -> None:
        with pytest.raises(CannotStart, match=r"no broker at 127\.0\.0\.1:1"):
            async with running(wire("kafka"), broker=Broker("127.0.0.1:1", kind)):
                raise AssertionError

    run(main)


def test_an_edge_over_kafka_needs_a_broker(run: Run) -> None:
    async def main() -> None:
        with pytest.raises(CannotStart, match="there is no broker"):
            async with running(wire("kafka")):
                raise AssertionError

    run(main)


def test_a_service_without_kafka_needs_no_broker(run: Run) -> None:
    async def main() -> None:
        async with running(wire("http")) as it:
            listener = transports.listener("kafka", it.sites["b/0"])
            transport = transports.client("kafka", it.sites["a/0"])
            assert await listener.start(Recorder().at("b/0")) is None
            await transport.connect({})
            await transport.close()
            await listener.stop(0)

    run(main)


@pytest.mark.parametrize(
    ("fails", "told"),
    [
        ("getone", "ZeroDivisionError: a poll"),
        ("cancelled", "asyncio.exceptions.CancelledError: not ours"),
        ("handler", "ZeroDivisionError: a handler"),
    ],
)
def test_a_process_ends_with_its_consumer_and_its_log_says_of_what(
    fails: str, told: str, place: str, embedded: Broker
) -> None:
    """A consumer that stops in silence would look like a callee that is slow for ever."""
    script = """
import asyncio, sys
from services.transports.site import Broker, Hooks, KafkaHooks
from tests.transports.build import outgoing, running, wire

fails, place, address = sys.argv[1:]

async def getone(consumer):
    if fails == "getone":
        raise ZeroDivisionError("a poll")
    if fails == "cancelled":
        raise asyncio.CancelledError("not ours")
    return await consumer.getone()

def send(producer, *what, **how):
    return producer.send(*what, **how)

async def handler(incoming):
    raise ZeroDivisionError("a handler")

async def main():
    to = wire("kafka", place)
    hooks = Hooks(kafka=KafkaHooks(send, getone))
    async with running(to, broker=Broker(address, "embedded"), hooks=hooks, handler=handler) as it:
        async with asyncio.timeout(10):
            await it.transport.call(outgoing(to))

asyncio.run(main())
"""
    ended = subprocess.run(
        [sys.executable, "-c", script, fails, place, embedded.address],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr.splitlines()[-1]) == (BUG, told)


def test_a_broker_that_dies_ends_what_waits_for_it(run: Run, broker_process: BrokerProcess) -> None:
    """Nothing here has a timeout of its own; the test's bound is all there is."""

    async def main() -> None:
        entered = asyncio.Event()

        async def handler(incoming: Incoming) -> Reply:
            if incoming.key == "stuck":
                entered.set()
                await asyncio.Event().wait()
            return Reply(Status.OK, incoming.response_bytes)

        call, publish = wire("kafka"), wire("kafka", index=1, mode="publish")
        async with running(call, publish, broker=broker_process.broker, handler=handler) as it:
            assert (await it.transport.call(outgoing(call))).status is Status.OK
            stuck = asyncio.create_task(it.transport.call(outgoing(call, key="stuck")))
            await entered.wait()
            broker_process.kill()
            flood = [it.transport.publish(outgoing(publish)) for _ in range(10)]
            replies = [await stuck, *await asyncio.gather(*flood)]
            assert {reply.status for reply in replies} == {Status.UNAVAILABLE}
            assert (await it.transport.call(outgoing(call))).detail.startswith("no Kafka broker at")
            await it.transport.close()
            await it.listeners["b/0"].stop(0)

    run(main)


def test_messages_that_a_dead_broker_never_took_are_not_produced(
    run: Run, broker_process: BrokerProcess
) -> None:
    async def main() -> None:
        to = wire("kafka", mode="publish")
        recorder = Recorder()
        async with running(to, broker=broker_process.broker, recorder=recorder) as it:
            await it.transport.publish(outgoing(to))
            await recorder.until(1)
            broker_process.kill()
            await asyncio.gather(*(it.transport.publish(outgoing(to)) for _ in range(5)))
        assert it.counters.produced == it.counters.consumed == {to.topic: 1}

    run(main)
