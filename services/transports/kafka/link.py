"""What one end of a Kafka edge keeps open to the broker: a tether, producers and consumers."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from time import monotonic_ns, time_ns
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaConnectionError, KafkaError

from services.doubts import Code
from services.errors import CannotStart
from services.scenario.model import KafkaOptions
from services.system.death import vital
from services.transports.kafka.groups import SETTINGS as GROUP
from services.transports.kafka.groups import Membership, assignor, group_name
from services.transports.kafka.partitions import AT_ONCE
from services.transports.kafka.tether import BrokerLost, Tether
from services.transports.site import Broker, BrokerKind, Counters, KafkaHooks, Site

FETCH_WAIT_MS: Final[Mapping[BrokerKind, int]] = {"embedded": 10, "kafka": 500}
"""500 is aiokafka's own default, which a real broker cuts short when a message comes."""
AWAY_S: Final[Mapping[BrokerKind, float]] = {"embedded": 0.0, "kafka": 45.0}
"""A real broker that is started again is back within this; until then its clients wait. The
embedded one does not come back."""
REQUEST_TIMEOUT_MS: Final[Mapping[BrokerKind, int]] = {"embedded": 10_000, "kafka": 60_000}
"""Also how long a producer tries again; more than a broker may be away."""
LARGEST_MESSAGE: Final = 64 * 1024 * 1024
"""Bytes that our side lets through; what the broker takes is its own setting."""

_JOIN_S: Final = 30.0
"""For a group's first assignment; a broker that was just started makes its offsets topic first."""
_POLL_MS: Final = 60_000
_PAUSE_S: Final = 0.1
_STOP_S: Final = 2.0

Header = tuple[str, bytes]
Take = Callable[[Any, int | None], asyncio.Task[None] | None]
"""Given a record of aiokafka's, and since when its partition was not read, CLOCK_MONOTONIC, where
that was so; what is to end before the record counts as done, if anything."""

HOLD_AT: Final = 2 * AT_ONCE
"""Records of a partition that are here and not done: with so many it is not read on, until there is
room for as many as are handled at once."""


def idempotent(options: KafkaOptions, kind: BrokerKind) -> bool:
    """Whether the broker drops what a producer sends twice; the embedded one is asked for acks 1.

    Kafka does so only for ``acks: all``.
    """
    return options.acks == "all" and kind == "kafka"


class Link:
    """What one end keeps open to the broker: a tether, producers by options, and consumers."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.broker = _broker_of(site)
        self.tether = Tether(self.broker.address, AWAY_S[self.broker.kind], site.counters.gaps)
        self._producers: dict[tuple[str, int], Any] = {}
        self._unheard: set[Any] = set()
        """Producers to which the broker does not answer."""
        self._consumers: list[Any] = []
        self._readers: list[asyncio.Task[None]] = []

    async def producer(self, options: KafkaOptions) -> Any:
        """A started producer with these ``acks`` and this linger; equal options share one."""
        key = (options.acks, options.linger_ns)
        if key not in self._producers:
            producer = AIOKafkaProducer(
                bootstrap_servers=self.broker.address,
                client_id=self._site.peer,
                acks=self._acks(options),
                enable_idempotence=idempotent(options, self.broker.kind),
                linger_ms=options.linger_ns / 1e6,
                max_request_size=LARGEST_MESSAGE,
                request_timeout_ms=REQUEST_TIMEOUT_MS[self.broker.kind],
            )
            self._producers[key] = producer
            if options.acks == "0" and self.broker.kind == "kafka":
                self._unheard.add(producer)
            await self._started(producer.start())
        return self._producers[key]

    def _acks(self, options: KafkaOptions) -> int | str:
        """What the broker is asked for.

        The mock cluster answers a message that asked for no answer, and aiokafka takes an answer
        that it does not expect for a broken connection. So it is asked for one, which the publisher
        does not wait for.
        """
        if options.acks == "all":
            return "all"
        return 1 if self.broker.kind == "embedded" else int(options.acks)

    async def read(
        self,
        partitions: Iterable[TopicPartition],
        take: Take,
        hooks: KafkaHooks | None = None,
    ) -> None:
        """Give every record that comes after now to ``take``, in order."""
        consumer = await self._consumer()
        assigned = list(partitions)
        consumer.assign(assigned)
        for partition, offset in (await consumer.end_offsets(assigned)).items():
            consumer.seek(partition, offset)
        self._readers.append(vital(asyncio.create_task(self._pump(consumer, take, hooks))))

    async def join(
        self, topics: Iterable[str], take: Take, hooks: KafkaHooks | None = None
    ) -> None:
        """Read ``topics`` as a member of the group of this round and service.

        Every record that comes after the group began goes to ``take`` of one member; a member that
        joins goes on where others were. Raises CannotStart.
        """
        site = self._site
        group = group_name(site.round, site.service)
        consumer = await self._consumer(
            group_id=group,
            enable_auto_commit=True,
            partition_assignment_strategy=(assignor(site.replica, site.replicas),),
            **GROUP,
        )
        membership = Membership(consumer, self._doubt)
        consumer.subscribe(list(topics), listener=membership)
        self._readers.append(vital(asyncio.create_task(self._pump(consumer, take, hooks))))
        try:
            async with asyncio.timeout(_JOIN_S):
                await membership.assigned.wait()
        except TimeoutError as error:
            raise CannotStart(
                site.peer, f"group {group} gave it no partitions within {_JOIN_S:g} s"
            ) from error

    async def _consumer(self, **more: Any) -> Any:
        """A started one."""
        given = {"group_id": None, "enable_auto_commit": False, **more}
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.broker.address,
            client_id=self._site.peer,
            fetch_max_wait_ms=FETCH_WAIT_MS[self.broker.kind],
            request_timeout_ms=REQUEST_TIMEOUT_MS[self.broker.kind],
            # Where the broker threw messages away before they were read, go on with the oldest
            # left: consumed then differs from produced, which voids the round.
            auto_offset_reset="earliest",
            **given,
        )
        self._consumers.append(consumer)
        await self._started(consumer.start())
        return consumer

    def _doubt(self, error: KafkaError) -> None:
        self._site.counters.doubt(Code.KAFKA_CONSUMER, f"{self._site.peer}: {error}")

    async def _started(self, start: Awaitable[None]) -> None:
        try:
            await start
        except KafkaError as error:
            raise CannotStart(
                self._site.peer, f"no Kafka at {self.broker.address}: {error}"
            ) from error

    async def _pump(self, consumer: Any, take: Take, hooks: KafkaHooks | None) -> None:
        held = Held(consumer)
        while True:
            try:
                if hooks is None:
                    batches = await consumer.getmany(timeout_ms=_POLL_MS, max_records=AT_ONCE)
                else:
                    one = await hooks.getone(consumer)
                    batches = {TopicPartition(one.topic, one.partition): (one,)}
            except KafkaError as error:
                self._doubt(error)
                await asyncio.sleep(_PAUSE_S)
                continue
            for partition, records in batches.items():
                for record in records:
                    task = take(record, held.since(partition, record.timestamp))
                    if task is not None:
                        held.took(partition, task)

    async def send(
        self,
        producer: Any,
        topic: str,
        partition: int,
        value: bytes,
        *,
        key: bytes | None,
        headers: list[Header],
        hooks: KafkaHooks | None = None,
    ) -> asyncio.Future[Any]:
        """Hand a message over, count it, and return what ends when it is acknowledged.

        Raises BrokerLost, or KafkaError where the producer does not take it.
        """
        if not self.tether.holds:
            raise BrokerLost(self.broker.address)
        counters = self._site.counters
        second = counters.produce(topic, monotonic_ns())
        try:
            send = producer.send if hooks is None else partial(hooks.send, producer)
            future: asyncio.Future[Any] = await send(
                topic, value, key=key, partition=partition, headers=headers
            )
        except BaseException:
            counters.take_back(topic, second)
            raise
        if producer in self._unheard:
            counters.unacknowledged[topic] += 1
        future.add_done_callback(partial(_take_back, counters, topic, second))
        return future

    async def stop_reading(self) -> None:
        for reader in self._readers:
            reader.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)
        self._readers.clear()
        consumers, self._consumers = self._consumers, []
        # A member that leaves commits where it is, and the others of its group go on from there.
        await asyncio.gather(*(_stop(consumer, consumer._client) for consumer in consumers))

    async def close(self) -> None:
        """Ends within seconds, whether or not the broker answers."""
        await self.stop_reading()
        if not self.tether.connected:
            for producer in self._producers.values():
                # Nothing will ever acknowledge these; stop() would wait for each to time out.
                producer._message_accumulator.fail_all(KafkaConnectionError("broker lost"))
        await asyncio.gather(
            *(_stop(producer, producer.client) for producer in self._producers.values())
        )
        await self.tether.stop()


class Held:
    """The partitions of one consumer that are not read while enough of their records are here."""

    def __init__(self, consumer: Any) -> None:
        self._consumer = consumer
        self._here: Counter[TopicPartition] = Counter()
        self._since: dict[TopicPartition, int] = {}
        """From when on those are held that are held now."""
        self._times: dict[TopicPartition, tuple[int, int]] = {}
        """From when to when each was held the last time, or, where it was held again before all
        records of that time were read, from the first such time on."""
        self._behind: set[TopicPartition] = set()

    def since(self, partition: TopicPartition, timestamp_ms: int) -> int | None:
        """From when the partition was held, where a record with this time came meanwhile."""
        held = self._times.get(partition)
        came_ns = timestamp_ms * 1_000_000 + monotonic_ns() - time_ns()
        if held is None or came_ns > held[1]:
            self._behind.discard(partition)
            return None
        self._behind.add(partition)
        return held[0]

    def took(self, partition: TopicPartition, task: asyncio.Task[None]) -> None:
        self._here[partition] += 1
        task.add_done_callback(partial(self._done, partition))
        # A group that was joined by another gives its partitions out anew, and none is held then.
        if self._here[partition] >= HOLD_AT and partition not in self._consumer.paused():
            self._since.setdefault(partition, monotonic_ns())
            if partition in self._consumer.assignment():
                self._consumer.pause(partition)

    def _done(self, partition: TopicPartition, task: asyncio.Task[None]) -> None:
        self._here[partition] -= 1
        if self._here[partition] > HOLD_AT - AT_ONCE or partition not in self._since:
            return
        begun = self._since.pop(partition)
        if partition in self._behind:
            begun = self._times[partition][0]
        self._times[partition] = (begun, monotonic_ns())
        # Another member of the group may have it by now.
        if partition in self._consumer.assignment():
            self._consumer.resume(partition)


async def _stop(end: Any, connections: Any) -> None:
    """Stop a producer or consumer, and close its connections even where it doesn't get that far.

    In a task of its own: with the broker gone, a consumer's stop() ends in the CancelledError of
    one of its own tasks, which must not be taken for ours.
    """
    stopping = asyncio.ensure_future(end.stop())
    await asyncio.wait((stopping,), timeout=_STOP_S)
    stopping.cancel()
    await asyncio.gather(stopping, return_exceptions=True)
    await connections.close()


def _take_back(
    counters: Counters, topic: str, second: int | None, sent: asyncio.Future[Any]
) -> None:
    if sent.cancelled() or sent.exception() is not None:
        counters.take_back(topic, second)


def _broker_of(site: Site) -> Broker:
    if site.broker is None:
        raise CannotStart(site.peer, "an edge goes over Kafka, and there is no broker")
    return site.broker
