"""Consumer groups of a real broker, and messages that come twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from services import transports
from services.errors import CannotStart
from services.scenario.model import KafkaOptions
from services.transports.kafka.groups import group_name, shared_out
from services.transports.kafka.link import idempotent
from services.transports.kafka.partitions import partition_for
from services.transports.kafka.seen import Seen
from services.transports.kafka.transport import CORRELATION, ROUND
from services.transports.site import Broker
from services.wire import ticket
from services.wire.ports import Status
from tests.transports.build import GRACE_NS, TICKET, Recorder, Run, outgoing, running, wire

PARTITIONS = 6


@pytest.fixture
def place() -> str:
    return f"b-{uuid4().hex[:8]}.reserve"


@pytest.mark.parametrize(
    ("replicas", "members", "takes"),
    [
        (2, {"x": 0, "y": 1}, {"x": (0, 2, 4), "y": (1, 3, 5)}),
        (2, {"x": 1}, {"x": (0, 1, 2, 3, 4, 5)}),
        (3, {"x": 0, "y": 1, "z": 2}, {"x": (0, 3), "y": (1, 4), "z": (2, 5)}),
        # What 1 of 3 had goes round among those that remain.
        (3, {"x": 0, "z": 2}, {"x": (0, 1, 3), "z": (2, 4, 5)}),
        # One that stands in for a member about to be missed gets nothing that the member has.
        (2, {"x": 0, "y": 1, "w": 1}, {"x": (0, 2, 4), "y": (), "w": (1, 3, 5)}),
    ],
)
def test_partitions_are_shared_out_by_replica_and_the_rest_evenly(
    replicas: int, members: dict[str, int], takes: dict[str, tuple[int, ...]]
) -> None:
    assert shared_out(PARTITIONS, replicas, members) == takes


@pytest.mark.parametrize("replicas", [1, 2, 5])
@pytest.mark.parametrize("partitions", [1, 4, 7])
def test_whoever_is_there_every_partition_is_taken_once(partitions: int, replicas: int) -> None:
    for gone in range(replicas):
        members = {f"m{r}": r for r in range(replicas) if r != gone or replicas == 1}
        takes = shared_out(partitions, replicas, members)
        assert sorted(p for own in takes.values() for p in own) == list(range(partitions))


@pytest.mark.real
@pytest.mark.timeout(90)
def test_a_member_that_leaves_and_one_that_joins_lose_nothing(
    place: str, run: Run, real_kafka: Broker
) -> None:
    async def main() -> None:
        recorder = Recorder()
        to = wire("kafka", place, mode="publish", partitions=PARTITIONS)
        sent: list[str] = []
        go_on = True

        async def stream() -> None:
            while go_on:
                key = str(len(sent))
                sent.append(key)
                reply = await it.transport.publish(outgoing(to, key=key))
                assert reply.status is Status.OK
                await asyncio.sleep(0.001)

        async def taken_by(replica: int, partitions: set[int]) -> None:
            """Until messages of all these partitions, sent from now on, came to ``replica``."""
            seen, there = len(recorder.seen), f"{to.callee}/{replica}"
            while not partitions <= {
                partition_for((got.key or "").encode(), "", PARTITIONS)
                for at, got in recorder.seen[seen:]
                if at == there
            }:
                await recorder.until(len(recorder.seen) + 1)

        async with running(to, broker=real_kafka, replicas=2, round=place, recorder=recorder) as it:
            streaming = asyncio.create_task(stream())
            await taken_by(0, {0, 2, 4})
            await taken_by(1, {1, 3, 5})
            await it.listeners[f"{to.callee}/1"].stop(GRACE_NS)
            await taken_by(0, {0, 1, 2, 3, 4, 5})
            site = it.sites[f"{to.callee}/1"]
            again = it.listeners[site.peer] = transports.listener("kafka", site)
            await again.start(recorder.at(site.peer))
            await taken_by(1, {1, 3, 5})
            go_on = False
            await streaming
            await recorder.until(len(sent))
            assert it.counters.produced == it.counters.consumed == {to.topic: len(sent)}
            assert not it.counters.redelivered
        assert Counter(got.key for _, got in recorder.seen) == Counter(sent)

    run(main)


@pytest.mark.real
def test_the_replicas_of_a_service_are_members_of_its_rounds_group(
    place: str, run: Run, real_kafka: Broker
) -> None:
    async def main() -> None:
        to = wire("kafka", place, mode="publish")
        admin = AIOKafkaAdminClient(bootstrap_servers=real_kafka.address)
        await admin.start()
        try:
            name = group_name(place, to.callee)
            async with running(to, broker=real_kafka, replicas=2, round=place):
                assert await states(admin, name) == [("Stable", "hopbench", 2)]
            assert await states(admin, name) == [("Empty", "", 0)]
        finally:
            await admin.close()

    run(main)


async def states(admin: AIOKafkaAdminClient, group: str) -> list[tuple[str, str, int]]:
    """State, protocol and number of members, as the broker describes the group."""
    (response,) = await admin.describe_consumer_groups([group])
    return [(each[2], each[4], len(each[5])) for each in response.groups]


@pytest.mark.real
def test_topics_have_the_partitions_asked_for_and_the_brokers_own_replication(
    place: str, run: Run, real_kafka: Broker
) -> None:
    async def main() -> None:
        to = wire("kafka", place, mode="publish", partitions=PARTITIONS)
        admin = AIOKafkaAdminClient(bootstrap_servers=real_kafka.address)
        await admin.start()
        try:
            async with running(to, broker=real_kafka, round=place):
                (topic,) = await admin.describe_topics([to.topic])
            assert len(topic["partitions"]) == PARTITIONS
            assert len({len(each["replicas"]) for each in topic["partitions"]}) == 1
        finally:
            await admin.close()

    run(main)


@pytest.mark.real
def test_a_topic_that_cannot_be_made_is_told(run: Run, real_kafka: Broker) -> None:
    async def main() -> None:
        with pytest.raises(CannotStart, match=r"cannot make topics at .*InvalidTopic"):
            async with running(wire("kafka", f"b.{'x' * 300}"), broker=real_kafka):
                raise AssertionError

    run(main)


def test_a_message_that_comes_twice_is_handled_once(place: str, run: Run, broker: Broker) -> None:
    async def main() -> None:
        recorder = Recorder()
        to = wire("kafka", place, mode="publish")
        async with running(to, broker=broker, round=place, recorder=recorder) as it:
            producer = AIOKafkaProducer(bootstrap_servers=broker.address)
            await producer.start()
            try:
                header = ticket.encode_header(TICKET, 20, None, 0, "a/0")
                for number in (b"one", b"two", b"one", b"three"):
                    await producer.send_and_wait(
                        to.topic,
                        b"",
                        partition=0,
                        headers=[
                            (CORRELATION, number),
                            (ticket.HEADER, header.encode()),
                            (ROUND, place.encode()),
                        ],
                    )
            finally:
                await producer.stop()
            await recorder.until(3)
            assert it.counters.consumed == {to.topic: 3}
            assert it.counters.redelivered == {to.topic: 1}

    run(main)


def test_only_so_many_messages_are_remembered() -> None:
    seen = Seen(limit=2)
    assert [seen.again(b"%d" % n) for n in (1, 1, 2, 2, 3, 3, 1)] == [
        False, True, False, True, False, True, False,
    ]  # fmt: skip


def test_what_clients_are_told_is_recorded() -> None:
    kafka, embedded = (transports.settings(kind)["kafka"] for kind in ("kafka", "embedded"))
    group = kafka["group"]
    assert isinstance(group, dict)
    assert group["assignor"] == "hopbench"
    assert group["heartbeat_interval_ms"] * 3 <= group["session_timeout_ms"]
    assert embedded["group"] is None
    assert (kafka["idempotence"], embedded["idempotence"]) == ("acks: all", "never")


def test_a_producer_that_waits_for_all_replicas_is_idempotent() -> None:
    by_acks = {acks: KafkaOptions(1, acks, 0) for acks in ("0", "1", "all")}
    assert [idempotent(o, "kafka") for o in by_acks.values()] == [False, False, True]
    assert not any(idempotent(o, "embedded") for o in by_acks.values())
