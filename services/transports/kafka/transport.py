"""Kafka between services: publish, and request/reply, over aiokafka.

A message goes to the topic ``<service>.<operation>`` and carries an id, of its sender and a number;
a request also names the topic of its reply, which carries the same id. Replica r of R takes the
partitions p with p mod R = r, from end offsets read before the first arrival, so nothing that an
earlier round left behind is read. On a real broker the replicas of a service are a consumer group
(services/transports/kafka/groups.py); replies, which go to one process, are read without one.

A real broker may be away for a while (link.py, AWAY_S): calls and messages wait
for it. What a producer then sends twice has the same id twice, and is handled once.

The embedded broker (librdkafka's mock cluster) is not Kafka. A new message does not end a waiting
fetch there, so the wait is short; all topics have four partitions; there are no replicas, so
``acks: all`` means no more than ``1``; a group takes three seconds to form, so there are none. What
the scenario asks and the broker can't do raises the doubt ``broker_cannot``.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from functools import partial
from itertools import count
from time import monotonic_ns, time_ns
from typing import Any, Final

from aiokafka import TopicPartition
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    NodeNotReadyError,
    RequestTimedOutError,
)

from services.doubts import Code
from services.scenario import names
from services.scenario.model import KafkaOptions, Mode
from services.system.death import vital
from services.transports.kafka.groups import SETTINGS as GROUP
from services.transports.kafka.link import (
    AWAY_S,
    FETCH_WAIT_MS,
    LARGEST_MESSAGE,
    REQUEST_TIMEOUT_MS,
    Header,
    Link,
)
from services.transports.kafka.partitions import (
    Lanes,
    ordered_topics,
    partition_for,
    partitions_asked,
    share,
)
from services.transports.kafka.seen import Seen
from services.transports.kafka.tether import BrokerLost
from services.transports.kafka.topics import REPLY_PARTITION, ensure
from services.transports.site import BrokerKind, Site
from services.wire import ticket, traceparent
from services.wire.headers import DETAIL, headers
from services.wire.payload import payload
from services.wire.ports import (
    Directory,
    Handler,
    Incoming,
    Listener,
    Outgoing,
    Reply,
    Status,
    Transport,
)

REPLY_TO: Final = "hopbench-reply-to"
CORRELATION: Final = "hopbench-correlation"
STATUS: Final = "hopbench-status"
SENT: Final = "hopbench-sent"
"""When a message was handed over, Unix ns: a deadline counts the time in the broker, too. By what
the clocks of two hosts differ, that is wrong."""
ROUND: Final = "hopbench-round"

EMBEDDED_ACKS: Final = {
    "0": "acks: 0 is asked for; the embedded broker acknowledges all the same",
    "all": "acks: all is asked for; the embedded broker has no replicas to wait for",
}
REPLY_OPTIONS: Final = KafkaOptions(partitions=1, acks="1", linger_ns=0)

_ID_BYTES: Final = 8


def settings(kind: BrokerKind | None) -> Mapping[str, object]:
    return {
        "fetch_max_wait_ms": None if kind is None else FETCH_WAIT_MS[kind],
        "request_timeout_ms": None if kind is None else REQUEST_TIMEOUT_MS[kind],
        "broker_away_s": None if kind is None else AWAY_S[kind],
        "idempotence": "acks: all" if kind == "kafka" else "never",
        "group": {"assignor": "hopbench", **GROUP} if kind == "kafka" else None,
        "max_request_size": LARGEST_MESSAGE,
        "reply_acks": REPLY_OPTIONS.acks,
        "reply_linger_ms": REPLY_OPTIONS.linger_ns / 1e6,
    }


def client(site: Site) -> Transport:
    return KafkaTransport(site)


def listener(site: Site) -> Listener:
    return KafkaListener(site)


class KafkaTransport:
    def __init__(self, site: Site) -> None:
        self._site = site
        self._peer = site.peer
        self._round = site.round.encode()
        self._link: Link | None = None
        self._wires = list(site.outgoing("kafka"))
        self._producer_of: dict[int, Any] = {}
        self._partitions: Mapping[str, int] = {}
        self._reply_to = names.reply_topic(site.service, site.replica)
        self._waiting: dict[bytes, asyncio.Future[Reply]] = {}
        # A late reply to an earlier process of this name must not answer a call of this one.
        self._process = os.urandom(_ID_BYTES)
        self._numbers = count()
        self._seen = Seen()

    async def connect(self, directory: Directory) -> None:
        if not self._wires:
            return
        link = self._link = Link(self._site)
        await link.tether.start()
        for wire in self._wires:
            self._producer_of[wire.index] = await link.producer(wire.kafka)
            if link.broker.kind == "embedded" and wire.kafka.acks in EMBEDDED_ACKS:
                self._site.counters.doubt(Code.BROKER_CANNOT, EMBEDDED_ACKS[wire.kafka.acks])
        producer = self._producer_of[self._wires[0].index]
        asked = partitions_asked(self._site.topology)
        counters = self._site.counters
        self._partitions = await ensure(
            link.broker, producer, {wire.topic: asked[wire.topic] for wire in self._wires}, counters
        )
        if any(wire.mode == "call" for wire in self._wires):
            await ensure(link.broker, producer, {self._reply_to: 1}, counters)
            await link.read([TopicPartition(self._reply_to, REPLY_PARTITION)], self._answered)
        for producer in set(self._producer_of.values()):
            # Every producer learns its topics now, not with the first message.
            for topic in self._partitions:
                await producer.partitions_for(topic)

    def _number(self) -> bytes:
        """The id of a message."""
        return self._process + next(self._numbers).to_bytes(_ID_BYTES, "big")

    async def call(self, out: Outgoing) -> Reply:
        number = self._number()
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            link, sent = await self._send(
                out, [(REPLY_TO, self._reply_to.encode()), (CORRELATION, number)]
            )
            sent.add_done_callback(partial(_undelivered, answer))
            return await link.tether.outlives(answer)
        except (BrokerLost, KafkaError) as error:
            return _failure(error)
        finally:
            del self._waiting[number]

    async def publish(self, out: Outgoing) -> Reply:
        try:
            link, sent = await self._send(out, [(CORRELATION, self._number())])
            if out.wire.kafka.acks != "0":
                await link.tether.outlives(sent)
        except (BrokerLost, KafkaError) as error:
            return _failure(error)
        return Reply(Status.OK, 0)

    async def _send(self, out: Outgoing, own: list[Header]) -> tuple[Link, asyncio.Future[Any]]:
        link = self._link
        if link is None:
            raise KafkaConnectionError("not connected")
        topic = out.wire.topic
        own += ((ROUND, self._round), (SENT, b"%d" % time_ns()))
        own += [(name, text.encode()) for name, text in headers(out, self._peer)]
        key = None if out.key is None else out.key.encode()
        return link, await link.send(
            self._producer_of[out.wire.index],
            topic,
            partition_for(key, out.ticket, self._partitions[topic]),
            payload(out.request_bytes),
            key=key,
            headers=own,
            hooks=self._site.hooks.kafka,
        )

    def _answered(self, record: Any, held_from_ns: int | None) -> None:
        headers = dict(record.headers)
        number = headers.get(CORRELATION, b"")
        if number[:_ID_BYTES] != self._process:
            return
        if self._seen.again(number):
            self._site.counters.redelivered[record.topic] += 1
            return
        self._site.counters.consumed[record.topic] += 1
        answer = self._waiting.get(number)
        # Nobody waits any more for a call that was given up.
        if answer is not None and not answer.done():
            answer.set_result(
                Reply(
                    Status(int(headers.get(STATUS, b"1"))),
                    len(record.value or b""),
                    headers.get(DETAIL, b"").decode(),
                )
            )

    async def close(self) -> None:
        if self._link is not None:
            await self._link.close()


def _undelivered(answer: asyncio.Future[Reply], sent: asyncio.Future[Any]) -> None:
    error = None if sent.cancelled() else sent.exception()
    if error is not None and not answer.done():
        answer.set_result(_failure(error))


def _failure(error: BaseException) -> Reply:
    match error:
        case BrokerLost():
            return Reply(Status.UNAVAILABLE, 0, f"no Kafka broker at {error}")
        case KafkaConnectionError() | NodeNotReadyError():
            return Reply(Status.UNAVAILABLE, 0, str(error))
        case KafkaTimeoutError() | RequestTimedOutError():
            return Reply(Status.TIMEOUT, 0, str(error))
        case _:
            return Reply(Status.ERROR, 0, str(error))


class KafkaListener:
    """Every message is handled in a task of its own, so many of a partition at once
    (:class:`~services.transports.kafka.partitions.Lanes`). A partition of which
    :data:`~services.transports.kafka.link.HOLD_AT` are here is not read on."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._round = site.round.encode()
        self._wires = list(site.incoming("kafka"))
        doors = site.topology.doors.get(site.service, ())
        self._answers = bool(doors) or any(wire.mode == "call" for wire in self._wires)
        self._operation_of = {wire.topic: wire.operation for wire in self._wires} | {
            names.topic(site.service, operation): operation for operation in doors
        }
        self._link: Link | None = None
        self._reply_producer: Any = None
        self._handler: Handler | None = None
        self._open: set[asyncio.Task[None]] = set()
        self._lanes = Lanes(ordered_topics(site.topology))
        self._seen = Seen()

    async def start(self, handler: Handler) -> None:
        if not self._operation_of:
            return
        site = self._site
        self._handler = handler
        link = self._link = Link(site)
        await link.tether.start()
        producer = await link.producer(REPLY_OPTIONS)
        asked = partitions_asked(site.topology)
        used = await ensure(
            link.broker,
            producer,
            {topic: asked[topic] for topic in self._operation_of},
            site.counters,
        )
        if self._answers:
            self._reply_producer = producer
        if link.broker.kind == "kafka":
            await link.join(used, self._take, site.hooks.kafka)
        else:
            mine = [
                TopicPartition(topic, partition)
                for topic, partitions in used.items()
                for partition in share(partitions, site.replica, site.replicas)
            ]
            if mine:
                await link.read(mine, self._take, site.hooks.kafka)
        for topic, partitions in used.items():
            if site.replica >= partitions:
                site.counters.doubt(
                    Code.IDLE_REPLICA,
                    f"{site.peer} gets nothing from {topic}: {partitions} partitions "
                    f"for {site.replicas} replicas",
                )

    def _take(self, record: Any, held_from_ns: int | None) -> asyncio.Task[None]:
        task = vital(asyncio.create_task(self._handle(record, held_from_ns)))
        self._open.add(task)
        task.add_done_callback(self._open.discard)
        return task

    async def _handle(self, record: Any, held_from_ns: int | None) -> None:
        now_ns = received_ns = monotonic_ns()
        # Of two alike, ours is the first: an instrumentation adds its own trace context behind it.
        headers = dict(reversed(record.headers))
        if headers.get(ROUND, b"") != self._round:
            return
        site = self._site
        number = headers.get(CORRELATION, b"")
        if number and self._seen.again(number):
            site.counters.redelivered[record.topic] += 1
            return
        sent = headers.get(SENT)
        sent_ns = now_ns if sent is None else min(int(sent) - time_ns() + now_ns, now_ns)
        if held_from_ns is not None:
            # It came when nobody was reading; nobody knows when exactly, but not before these.
            received_ns = max(sent_ns, held_from_ns)
        lane = self._lanes.lane(record.topic, record.partition)
        waits = not lane.free or held_from_ns is not None
        async with lane:
            held_ns = monotonic_ns() - received_ns if waits else 0
            await self._serve(record, headers, sent_ns, received_ns, held_ns)

    async def _serve(
        self,
        record: Any,
        headers: Mapping[str, bytes],
        sent_ns: int,
        received_ns: int,
        held_ns: int,
    ) -> None:
        site = self._site
        number = headers.get(CORRELATION, b"")
        # Counted in the same step that opens the handler: whoever compares consumed with produced
        # sees the message either under way or being handled.
        site.counters.consumed[record.topic] += 1
        try:
            header = ticket.parse_header(headers.get(ticket.HEADER, b"").decode())
        except ValueError:
            site.counters.doubt(
                Code.MALFORMED_MESSAGE, f"a message on {record.topic} has no ticket"
            )
            return
        reply_to = headers.get(REPLY_TO)
        trace = headers.get(traceparent.HEADER)
        mode: Mode = "publish" if reply_to is None else "call"
        assert self._handler is not None
        reply = await self._handler(
            Incoming(
                service=site.service,
                operation=self._operation_of[record.topic],
                protocol="kafka",
                mode=mode,
                ticket=header.ticket,
                key=None if record.key is None else record.key.decode(),
                request_bytes=len(record.value or b""),
                response_bytes=header.response_bytes,
                timeout_ns=None
                if header.timeout_ns is None
                else sent_ns + header.timeout_ns - received_ns,
                attempt=header.attempt,
                trace=None if trace is None else traceparent.parse(trace.decode()),
                received_ns=received_ns,
                peer=header.peer,
                held_ns=held_ns,
            )
        )
        if reply_to is not None and reply.status is not Status.UNAVAILABLE:
            await self._reply(reply_to.decode(), number, reply)

    async def _reply(self, topic: str, number: bytes, reply: Reply) -> None:
        assert self._link is not None
        headers = [(CORRELATION, number), (STATUS, b"%d" % reply.status)]
        if reply.detail:
            headers.append((DETAIL, reply.detail.encode()))
        try:
            sent = await self._link.send(
                self._reply_producer,
                topic,
                REPLY_PARTITION,
                payload(reply.response_bytes),
                key=None,
                headers=headers,
            )
            await self._link.tether.outlives(sent)
        except (BrokerLost, KafkaError) as error:
            # The caller learns of a lost broker by itself.
            self._site.counters.doubt(
                Code.REPLY_LOST, f"{self._site.peer}: {_failure(error).detail}"
            )

    async def stop(self, grace_ns: int) -> None:
        if self._link is None:
            return
        await self._link.stop_reading()
        if self._open:
            await asyncio.wait(self._open, timeout=grace_ns / 1e9)
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        await self._link.close()
