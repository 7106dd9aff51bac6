"""What tracing one hop costs: client and server span against the bare transport, on one loop.

Run ``python -m benchmarks.hop`` from the checkout. One caller and one callee share a loop and a
core; 16 calls are in flight. All sides of a protocol take turns in slices of a second, so that a
noisy neighbour meets every side alike; a slice ends when its spans and metrics are accepted by a
receiver in another process. A ratio is the median over rounds of (this side / floor) within one
round: requests per wall second, and per second of CPU of all threads and children.

- ``bare``: aiohttp or grpc.aio alone, an empty handler. ``floor``: our transports, no telemetry.
- ``lean``; ``deferred`` derives nothing within the slice (it is derived between slices).
- ``official``: the OpenTelemetry instrumentations; ``sdk``: spans by hand on the SDK.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import random
import resource
import statistics
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic_ns, perf_counter
from typing import Any, Final, Literal

import aiohttp
import grpc
import uvloop
from aiohttp import web

from benchmarks.sink import sink
from services import transports
from services.ports import Address, Incoming, Outgoing, Reply, Status, TraceContext, wire_of
from services.scenario.model import Edge, KafkaOptions, OnErrorFail, Origin, Target
from services.scenario.distributions import Constant
from services.telemetry.lean import LeanTelemetry
from services.telemetry.pipeline import Pipeline, resource_attributes
from services.topology import Topology
from services.transports.site import Counters, Hooks, Site

ProtocolName = Literal["http", "grpc"]
PROTOCOLS: Final[tuple[ProtocolName, ...]] = ("http", "grpc")
IN_FLIGHT: Final = 16
REQUEST_BYTES: Final = 64
RESPONSE_BYTES: Final = 128
TARGETS: Final = {"lean sampled": 0.75, "lean unsampled": 0.85}
TICKET: Final = "00000000000004d2;entry@0"

Hop = Callable[[], Awaitable[object]]


class _Clock:
    kind: Literal["wall"] = "wall"
    now_ns = staticmethod(monotonic_ns)

    async def sleep(self, ns: int) -> None:
        await asyncio.sleep(ns / 1e9)

    async def cpu(self, ns: int, where: Literal["loop", "thread", "process"]) -> None:
        raise NotImplementedError


@dataclass(slots=True)
class Side:
    """One way to make a hop. ``flush`` ends a slice within it, ``settle`` after it."""

    name: str
    hop: Hop
    flush: Callable[[], Awaitable[object]] | None = None
    settle: Callable[[], Awaitable[object]] | None = None
    hops: int = 0
    wall_s: float = 0.0
    cpu_s: float = 0.0
    per_wall: list[float] = field(default_factory=list)
    per_cpu: list[float] = field(default_factory=list)


def shop(protocol: ProtocolName) -> Topology:
    edge = Edge(
        target=Target("inventory", "reserve"),
        protocol=protocol,
        mode="call",
        count=1,
        batch=1,
        max_parallel=1,
        probability=1.0,
        request_bytes=Constant(REQUEST_BYTES),
        response_bytes=Constant(RESPONSE_BYTES),
        key_distinct=None,
        timeout_ns=None,
        retry=None,
        hedge=None,
        on_error=OnErrorFail(),
        kafka=KafkaOptions(1, "1", 0),
        origins=(Origin("order.create/1", 1),),
    )
    wire = wire_of(0, "order", "create", edge)
    operations = (Target("order", "create"), Target("inventory", "reserve"))
    return Topology(operations, (wire,), {"order.create/1": wire}, dict(zip(operations, (0, 1))))


_bits: Final = random.Random(1).getrandbits


def entering(sampled: bool) -> TraceContext:
    return TraceContext(_bits(128) | 1, _bits(64) | 1, sampled)


@asynccontextmanager
async def hooked(
    protocol: ProtocolName,
    topology: Topology,
    handler: Callable[[Incoming], Awaitable[Reply]],
    caller: Hooks = Hooks(),
    callee: Hooks = Hooks(),
) -> AsyncIterator[Callable[[Outgoing], Awaitable[Reply]]]:
    """Our transport and listener of ``protocol``, connected; yields the call."""
    listener = transports.listener(
        protocol, Site("inventory", 0, 1, topology, Counters(), hooks=callee)
    )
    port = await listener.start(handler)
    transport = transports.client(
        protocol,
        Site("order", 0, 1, topology, Counters(), hooks=caller, warm_connections=IN_FLIGHT),
    )
    address = Address("127.0.0.1", port, port)
    await transport.connect({"inventory": (address,)})
    try:
        yield transport.call
    finally:
        await transport.close()
        await listener.stop(0)


def sent(topology: Topology, trace: TraceContext | None) -> Outgoing:
    return Outgoing(
        topology.wires[0], 0, TICKET, None, REQUEST_BYTES, RESPONSE_BYTES, None, 0, trace
    )


@asynccontextmanager
async def floor(protocol: ProtocolName) -> AsyncIterator[Side]:
    topology = shop(protocol)

    async def handle(incoming: Incoming) -> Reply:
        return Reply(Status.OK, incoming.response_bytes)

    async with hooked(protocol, topology, handle) as call:
        yield Side("floor", lambda: call(sent(topology, None)))


@asynccontextmanager
async def lean(
    protocol: ProtocolName, endpoint: str, name: str, *, sampled: bool, deferred: bool = False
) -> AsyncIterator[Side]:
    topology = shop(protocol)
    caller = LeanTelemetry(topology, "order", 0, _Clock())
    callee = LeanTelemetry(topology, "inventory", 0, _Clock())
    pipelines = [
        Pipeline(
            telemetry,
            endpoint,
            resource_attributes(telemetry.service, 0, "baseline"),
            deferred=deferred,
        )
        for telemetry in (caller, callee)
    ]
    wire = topology.wires[0]

    async def handle(incoming: Incoming) -> Reply:
        scope = callee.server_begin(incoming)
        reply = Reply(Status.OK, incoming.response_bytes)
        callee.server_end(scope, reply)
        return reply

    async def flush() -> None:
        for pipeline in pipelines:
            if not await pipeline.flush():
                raise SystemExit("the sink does not keep up")

    async with hooked(protocol, topology, handle) as call:

        async def hop() -> None:
            attempt = caller.attempt_begin(wire, entering(sampled), fanout=False)
            out = sent(topology, attempt.trace)
            caller.attempt_end(attempt, out, 1, await call(out))

        for pipeline in pipelines:
            await pipeline.start()
        yield Side(name, hop, None if deferred else flush, flush if deferred else None)
        for pipeline in pipelines:
            if pipeline.spans_exported != pipeline.spans_ended:
                raise SystemExit(f"{name}: {pipeline.dropped} spans lost")
            await pipeline.close()


@asynccontextmanager
async def bare_http() -> AsyncIterator[Side]:
    body, answer = bytes(REQUEST_BYTES), bytes(RESPONSE_BYTES)

    async def handle(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(body=answer)

    app = web.Application()
    app.router.add_post("/reserve", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/reserve"
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar()
    )

    async def hop() -> None:
        async with session.post(url, data=body) as response:
            await response.read()

    yield Side("bare", hop)
    await session.close()
    await runner.cleanup()


@asynccontextmanager
async def bare_grpc() -> AsyncIterator[Side]:
    body, answer = bytes(REQUEST_BYTES), bytes(RESPONSE_BYTES)

    async def handle(_request: bytes, _context: Any) -> bytes:
        return answer

    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    method = grpc.unary_unary_rpc_method_handler(handle)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("bare.Inventory", {"Reserve": method}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
    call = channel.unary_unary("/bare.Inventory/Reserve")
    yield Side("bare", lambda: call(body))
    await channel.close()
    await server.stop(0)


async def slice_of(side: Side, seconds: float) -> None:
    """Hops for ``seconds``, and what they leave behind, added to the side's sums."""
    gc.collect()
    count = 0
    began, cpu = perf_counter(), cpu_s()
    until = began + seconds

    async def caller() -> None:
        nonlocal count
        hop = side.hop
        while perf_counter() < until:
            await hop()
            count += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(IN_FLIGHT):
            group.create_task(caller())
    if side.flush is not None:
        await side.flush()
    wall, used = perf_counter() - began, cpu_s() - cpu
    if side.settle is not None:
        await side.settle()
    side.hops += count
    side.wall_s += wall
    side.cpu_s += used
    side.per_wall.append(count / wall)
    side.per_cpu.append(count / used)


def cpu_s() -> float:
    """CPU of all threads, and of children that have ended (there are none but the sink)."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def measure(
    protocol: ProtocolName, endpoint: str, only: str, seconds: float, slice_s: float
) -> list[Side]:
    async with AsyncExitStack() as stack:
        sides = [
            await stack.enter_async_context(opened)
            for opened in (
                bare_http() if protocol == "http" else bare_grpc(),
                floor(protocol),
                lean(protocol, endpoint, "lean sampled", sampled=True),
                lean(protocol, endpoint, "lean unsampled", sampled=False),
                lean(protocol, endpoint, "lean deferred", sampled=True, deferred=True),
            )
        ]
        wanted = [side for side in sides if side.name in ("bare", "floor") or only in side.name]
        for side in wanted:
            await slice_of(side, slice_s / 2)
            side.hops, side.wall_s, side.cpu_s = 0, 0.0, 0.0
            side.per_wall.clear()
            side.per_cpu.clear()
        order = random.Random(7)
        for _ in range(max(1, round(seconds / slice_s))):
            for side in order.sample(wanted, len(wanted)):
                await slice_of(side, slice_s)
        return wanted


def ratio(side: Side, against: Side, of: Literal["per_wall", "per_cpu"]) -> float:
    return statistics.median(
        a / b for a, b in zip(getattr(side, of), getattr(against, of), strict=True)
    )


def table(protocol: ProtocolName, sides: list[Side]) -> None:
    bare, floor_ = sides[0], sides[1]
    print(
        f"\n{protocol}: {bare.wall_s:.0f} s a side\n"
        f"{'':18}{'req/s':>8}{'req/CPU s':>11}{'/floor':>8}{'/floor CPU':>12}"
        f"{'/bare':>8}{'/bare CPU':>11}  target"
    )
    for side in sides:
        target = TARGETS.get(side.name)
        against = ratio(side, floor_, "per_wall")
        verdict = "" if target is None else f"  >= {target} {'ok' if against >= target else 'MISSED'}"
        print(
            f"{side.name:18}{side.hops / side.wall_s:8.0f}{side.hops / side.cpu_s:11.0f}"
            f"{against:8.2f}{ratio(side, floor_, 'per_cpu'):12.2f}"
            f"{ratio(side, bare, 'per_wall'):8.2f}{ratio(side, bare, 'per_cpu'):11.2f}{verdict}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=12.0, help="measured for each side")
    parser.add_argument("--slice", type=float, default=0.5, help="seconds a turn")
    parser.add_argument("--protocol", choices=PROTOCOLS, action="append")
    parser.add_argument("--only", default="", help="sides whose name holds this")
    arguments = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[0]})
    with sink(cores[-1]) as endpoint:
        for protocol in arguments.protocol or PROTOCOLS:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                sides = runner.run(
                    measure(
                        protocol, endpoint, arguments.only, arguments.seconds, arguments.slice
                    )
                )
            table(protocol, sides)


if __name__ == "__main__":
    main()
