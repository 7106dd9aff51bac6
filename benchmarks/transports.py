"""What our transports cost over the libraries below them, on one loop and one core.

Run ``python -m benchmarks.transports`` from the checkout. Caller and callee share a loop; 16 calls
are in flight; no telemetry. Sides take turns in short slices, and a ratio is the median over
rounds of (this side / bare) within one round, in calls per second of CPU, which a noisy neighbour
disturbs least. The broker of the Kafka sides is the embedded one, in a process of its own, so that
its fetch wait bounds the rate of calls, and only their CPU says anything about us.

- ``bare``: aiohttp, grpc.aio or aiokafka alone, with an empty handler.
- ``bare server``: HTTP on aiohttp's low-level server, without application, routes and key.
- ``ours``: services.transports, with ticket, sizes, statuses, counters; ``keyed`` with a key;
  ``2 channels`` with two gRPC connections.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import aiohttp
import uvloop
from aiohttp import web
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from benchmarks.hop import IN_FLIGHT, Side, bare_grpc, bare_http, ratio, slice_of
from benchmarks.shop import REQUEST_BYTES, RESPONSE_BYTES, TICKET
from hopbench.parts import broker as brokers
from services import transports
from services.scenario.model import KafkaOptions, Mode, Protocol, Target
from services.transports.kafka.link import FETCH_WAIT_MS
from services.transports.site import Broker, Counters, Site
from services.wire.ports import Address, Incoming, Outgoing, Reply, Status, Wire
from services.wire.topology import Topology

_SPARE_S: Final = 60.0
Opened = Callable[[], AbstractAsyncContextManager[Side]]


async def answer(incoming: Incoming) -> Reply:
    return Reply(Status.OK, incoming.response_bytes)


@asynccontextmanager
async def ours(
    name: str,
    protocol: Protocol,
    *,
    mode: Mode = "call",
    key: str | None = None,
    channels: int = 1,
    broker: Broker | None = None,
) -> AsyncIterator[Side]:
    wire = Wire(
        0, "order", "create", "inventory", "reserve", protocol, mode, KafkaOptions(1, "1", 0)
    )
    operations = (Target("order", "create"), Target("inventory", "reserve"))
    topology = Topology(operations, (wire,), {}, {})
    caller = Site(
        *("order", 0, 1, topology, Counters(), broker),
        # So that the calls of another side on the same broker are not taken for ours.
        round=name,
        warm_connections=IN_FLIGHT,
        grpc_channels=channels,
    )
    listener = transports.listener(protocol, replace(caller, service="inventory"))
    port = await listener.start(answer)
    transport = transports.client(protocol, caller)
    address = Address("127.0.0.1", {} if port is None else {protocol: port})
    await transport.connect({"inventory": (address,)})
    out = Outgoing(wire, 0, TICKET, key, REQUEST_BYTES, RESPONSE_BYTES, None, 0, None)
    send = transport.call if mode == "call" else transport.publish

    async def hop() -> None:
        reply = await send(out)
        if reply.status is not Status.OK:
            raise SystemExit(f"{name}: {reply}")

    yield Side(name, hop)
    await transport.close()
    await listener.stop(0)


@asynccontextmanager
async def bare_server() -> AsyncIterator[Side]:
    body, reply = bytes(REQUEST_BYTES), bytes(RESPONSE_BYTES)

    async def handle(request: web.BaseRequest) -> web.Response:
        await request.read()
        return web.Response(body=reply)

    server = web.Server(handle, access_log=None)
    socket = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{socket.sockets[0].getsockname()[1]}/reserve"
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar()
    ) as session:

        async def hop() -> None:
            async with session.post(url, data=body) as response:
                await response.read()

        yield Side("bare server", hop)
    socket.close()
    await server.shutdown(1.0)


async def _reader(address: str, topic: str) -> Any:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=address, group_id=None, fetch_max_wait_ms=FETCH_WAIT_MS["embedded"]
    )
    await consumer.start()
    partition = TopicPartition(topic, 0)
    consumer.assign([partition])
    await consumer.seek_to_end(partition)
    return consumer


@asynccontextmanager
async def bare_kafka(address: str, mode: Mode) -> AsyncIterator[Side]:
    """One topic there and one back; a request is known by a number in its only header."""
    body, reply = bytes(REQUEST_BYTES), bytes(RESPONSE_BYTES)
    there, back = f"bare.{mode}", f"reply.bare.{mode}"
    producer = AIOKafkaProducer(bootstrap_servers=address, acks=1)
    await producer.start()
    for topic in (there, back):
        await producer.partitions_for(topic)
    requests, replies = await _reader(address, there), await _reader(address, back)
    waiting: dict[bytes, asyncio.Future[None]] = {}
    numbers = iter(range(1 << 62))

    async def serve() -> None:
        async for record in requests:
            if mode == "call":
                await producer.send(back, reply, partition=0, headers=list(record.headers))

    async def settle() -> None:
        async for record in replies:
            waiting.pop(record.headers[0][1]).set_result(None)

    async def call() -> None:
        number = next(numbers).to_bytes(8, "big")
        done = waiting[number] = asyncio.get_running_loop().create_future()
        await producer.send(there, body, partition=0, headers=[("number", number)])
        await done

    async def publish() -> None:
        await producer.send_and_wait(there, body, partition=0, headers=[("number", b"")])

    tasks = [asyncio.create_task(serve()), asyncio.create_task(settle())]
    yield Side("bare", call if mode == "call" else publish)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for end in (requests, replies, producer):
        await end.stop()


def groups(broker: Broker) -> dict[str, tuple[Opened, ...]]:
    """The first side of a group is what the others are compared with."""
    return {
        "http": (
            bare_http,
            bare_server,
            lambda: ours("ours", "http"),
            lambda: ours("ours keyed", "http", key="17"),
        ),
        "grpc": (
            bare_grpc,
            lambda: ours("ours", "grpc"),
            lambda: ours("ours keyed", "grpc", key="17"),
            lambda: ours("ours 2 channels", "grpc", channels=2),
        ),
        "kafka call": (
            lambda: bare_kafka(broker.address, "call"),
            lambda: ours("ours", "kafka", broker=broker),
            lambda: ours("ours keyed", "kafka", key="17", broker=broker),
        ),
        "kafka publish": (
            lambda: bare_kafka(broker.address, "publish"),
            lambda: ours("ours", "kafka", mode="publish", broker=broker),
        ),
    }


async def measure(opened: tuple[Opened, ...], rounds: int, slice_s: float) -> list[Side]:
    async with AsyncExitStack() as stack:
        sides = [await stack.enter_async_context(side()) for side in opened]
        for side in sides:
            await slice_of(side, slice_s)
            side.hops, side.wall_s, side.cpu_s = 0, 0.0, 0.0
            side.per_wall.clear()
            side.per_cpu.clear()
        order = random.Random(7)
        for _ in range(rounds):
            for side in order.sample(sides, len(sides)):
                await slice_of(side, slice_s)
        return sides


def table(name: str, sides: list[Side]) -> None:
    print(f"\n{name:18}{'calls/s':>9}{'us CPU':>8}{'/bare':>8}{'/bare CPU':>11}")
    for side in sides:
        print(
            f"{side.name:18}{side.hops / side.wall_s:9.0f}{side.cpu_s / side.hops * 1e6:8.0f}"
            f"{ratio(side, sides[0], 'per_wall'):8.2f}{ratio(side, sides[0], 'per_cpu'):11.2f}"
        )


async def bench(only: str, rounds: int, slice_s: float) -> None:
    with tempfile.TemporaryDirectory() as directory:
        embedded = await brokers.start(Path(directory) / "broker.log")
        try:
            for name, opened in groups(Broker(embedded.ready.address, "embedded")).items():
                if only in name:
                    # A side whose answers stop coming would otherwise wait for ever.
                    async with asyncio.timeout(_SPARE_S + (rounds + 1) * len(opened) * slice_s):
                        sides = await measure(opened, rounds, slice_s)
                    table(name, sides)
        finally:
            await embedded.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--slice", type=float, default=0.4, help="seconds a turn")
    parser.add_argument("--only", default="", help="groups whose name holds this")
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(bench(arguments.only, arguments.rounds, arguments.slice))


if __name__ == "__main__":
    main()
