"""Making the topics of a topology exist. As many partitions are used as are asked for
(partitions.py), however many there are.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.errors import (
    InvalidPartitionsError,
    KafkaError,
    TopicAlreadyExistsError,
    for_code,
)

from services.doubts import Code
from services.errors import CannotStart
from services.transports.site import Broker, Counters

REPLY_PARTITION: Final = 0
"""Replies to one caller keep to one partition: there is one consumer."""

_VISIBLE_S: Final = 10.0
_LOOK_AGAIN_S: Final = 0.05


async def ensure(
    broker: Broker, producer: Any, asked: Mapping[str, int], counters: Counters
) -> Mapping[str, int]:
    """Make the topics exist, and return how many partitions of each to use.

    ``producer`` is a started AIOKafkaProducer. Fewer partitions than asked raise the doubt
    ``broker_cannot``. Raises CannotStart where the broker refuses a topic.
    """
    if broker.kind == "kafka" and asked:
        try:
            await _create(broker.address, asked)
        except KafkaError as error:
            raise CannotStart(
                "kafka", f"cannot make topics at {broker.address}: {error}"
            ) from error
    used: dict[str, int] = {}
    for topic, wanted in asked.items():
        there = await _visible(producer, topic, 1 if broker.kind == "embedded" else wanted)
        used[topic] = min(wanted, there)
        if there < wanted:
            counters.doubt(
                Code.BROKER_CANNOT,
                f"topic {topic} asks for {wanted} partitions; "
                f"the {broker.kind} broker gives it {there}",
            )
    return used


async def _visible(producer: Any, topic: str, at_least: int) -> int:
    """How many partitions ``topic`` has; asking is also what makes it appear when embedded."""
    there = 0
    try:
        async with asyncio.timeout(_VISIBLE_S):
            while True:
                there = len(await producer.partitions_for(topic))
                if there >= at_least:
                    return there
                # The producer keeps what it learned until it is told to ask again.
                await producer.client.force_metadata_update()
                await asyncio.sleep(_LOOK_AGAIN_S)
    except (TimeoutError, KafkaError) as error:
        if there:
            return there
        raise CannotStart("kafka", f"topic {topic} did not appear: {error}") from error


async def _create(address: str, asked: Mapping[str, int]) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    try:
        # The empty assignment is what lets -1, the broker's own replication factor, through.
        response = await admin.create_topics(
            [NewTopic(topic, n, -1, replica_assignments={}) for topic, n in asked.items()]
        )
        existing: list[str] = []
        for topic, code, *_ in response.topic_errors:
            error = for_code(code)
            if error is TopicAlreadyExistsError:
                existing.append(topic)
            elif code:
                raise error(topic)
        for described in await admin.describe_topics(existing) if existing else ():
            topic = described["topic"]
            if len(described["partitions"]) < asked[topic]:
                # Another process of the round may be making the same topic at this moment.
                with contextlib.suppress(InvalidPartitionsError):
                    await admin.create_partitions({topic: NewPartitions(asked[topic])})
    finally:
        await admin.close()
