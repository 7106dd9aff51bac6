"""What tracing one hop costs: client and server span against the bare transport, on one loop.

Run ``python -m benchmarks.hop`` from the checkout. One caller and one callee share a loop and a
core; 16 calls are in flight. All sides of a protocol take turns in slices of a second, so that a
noisy neighbour meets every side alike; a slice ends when its spans and metrics are accepted by a
receiver in another process. A ratio is the median over rounds of (this side / floor) within one
round: requests per wall second, and per second of CPU of all threads. All of them share the core,
so the two differ by what others took of it; targets are judged by the second.

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
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Final, Literal

import aiohttp
import grpc
import uvloop
from aiohttp import web
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    TraceFlags,
    set_span_in_context,
)

from benchmarks.shop import (
    REQUEST_BYTES,
    RESPONSE_BYTES,
    ProtocolName,
    connected,
    sent,
    shop,
)
from benchmarks.sink import sink
from services.clocks.wall import WallClock
from services.telemetry.lean import LeanTelemetry
from services.telemetry.official import telemetry as instrument
from services.telemetry.pipeline import Pipeline, resource_attributes
from services.telemetry.records import CLIENT, SERVER
from services.telemetry.sender import Sender
from services.telemetry.spans import Shape, span_shape
from services.wire.ports import Incoming, Reply, Status, TraceContext

PROTOCOLS: Final[tuple[ProtocolName, ...]] = ("http", "grpc")
IN_FLIGHT: Final = 16
TARGETS: Final = {"lean sampled": 0.75, "lean unsampled": 0.85}

Hop = Callable[[], Awaitable[object]]


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


_bits: Final = random.Random(1).getrandbits


def entering(sampled: bool) -> TraceContext:
    return TraceContext(_bits(128) | 1, _bits(64) | 1, sampled)


@asynccontextmanager
async def floor(protocol: ProtocolName) -> AsyncIterator[Side]:
    topology = shop(protocol)

    async def handle(incoming: Incoming) -> Reply:
        return Reply(Status.OK, incoming.response_bytes)

    async with connected(protocol, topology, handle) as call:
        yield Side("floor", lambda: call(sent(topology, None)))


@asynccontextmanager
async def lean(
    protocol: ProtocolName, endpoint: str, name: str, *, sampled: bool, deferred: bool = False
) -> AsyncIterator[Side]:
    topology = shop(protocol)
    caller = LeanTelemetry(topology, "order", 0, WallClock())
    callee = LeanTelemetry(topology, "inventory", 0, WallClock())
    senders = [Sender(endpoint, endpoint) for _ in range(2)]
    pipelines = [
        Pipeline(
            telemetry,
            sender,
            resource_attributes(telemetry.service, 0, "baseline"),
            shared=deferred,
        )
        for telemetry, sender in zip((caller, callee), senders, strict=True)
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

    async with connected(protocol, topology, handle) as call:

        async def hop() -> None:
            attempt = caller.attempt_begin(wire, entering(sampled), fanout=False)
            out = sent(topology, attempt.trace)
            caller.attempt_end(attempt, out, 1, await call(out))

        for pipeline in pipelines:
            await pipeline.start()
        yield Side(name, hop, None if deferred else flush, flush if deferred else None)
        for pipeline, sender in zip(pipelines, senders, strict=True):
            if sender.exported["traces"] != pipeline.spans_ended:
                raise SystemExit(f"{name}: {sender.lost['traces']} spans lost")
            await pipeline.close()
            sender.close()


@asynccontextmanager
async def official(
    protocol: ProtocolName, endpoint: str, name: str, *, sampled: bool
) -> AsyncIterator[Side]:
    topology = shop(protocol)
    caller, caller_pipeline, caller_hooks = instrument.official(
        topology,
        "order",
        0,
        WallClock(),
        Sender(endpoint, endpoint),
        resource=resource_attributes("order", 0, "baseline", "official"),
        spans=endpoint,
    )
    callee, callee_pipeline, callee_hooks = instrument.official(
        topology,
        "inventory",
        0,
        WallClock(),
        Sender(endpoint, endpoint),
        resource=resource_attributes("inventory", 0, "baseline", "official"),
        spans=endpoint,
    )
    pipelines = (caller_pipeline, callee_pipeline)
    wire = topology.wires[0]

    async def handle(incoming: Incoming) -> Reply:
        scope = callee.server_begin(incoming)
        reply = Reply(Status.OK, incoming.response_bytes)
        callee.server_end(scope, reply)
        return reply

    async def flush() -> None:
        for pipeline in pipelines:
            await pipeline.flush()

    async with connected(protocol, topology, handle, caller_hooks, callee_hooks) as call:

        async def hop() -> None:
            attempt = caller.attempt_begin(wire, entering(sampled), fanout=False)
            out = sent(topology, attempt.trace)
            caller.attempt_end(attempt, out, 1, await call(out))

        for pipeline in pipelines:
            await pipeline.start()
        yield Side(name, hop, flush)
        for pipeline in pipelines:
            await pipeline.close()


class Counting(OTLPSpanExporter):
    exported = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = super().export(spans)
        if result is SpanExportResult.SUCCESS:
            self.exported += len(spans)
        return result


@asynccontextmanager
async def by_hand(
    protocol: ProtocolName, endpoint: str, name: str, *, sampled: bool
) -> AsyncIterator[Side]:
    """The SDK's spans with the attributes of a hop, opened and ended around our transports."""
    topology = shop(protocol)
    exporter = Counting(endpoint=endpoint, insecure=True)
    provider, ended = instrument.tracer_provider(
        resource_attributes("order", 0, "baseline", "official"), exporter
    )
    tracer = provider.get_tracer("benchmarks.hop")
    client, server = (
        span_shape(topology, Shape(kind, site, 0, 0, 1, 0, peer, keyed=False))
        for kind, site, peer in ((CLIENT, 0, 0), (SERVER, 1, protocol))
    )

    def within(trace: TraceContext) -> Context:
        context = SpanContext(
            trace.trace_id, trace.span_id, is_remote=True, trace_flags=TraceFlags(trace.sampled)
        )
        return set_span_in_context(NonRecordingSpan(context))

    async def handle(incoming: Incoming) -> Reply:
        assert incoming.trace is not None
        with tracer.start_as_current_span(
            server.name, within(incoming.trace), SpanKind.SERVER, server.attributes
        ):
            return Reply(Status.OK, incoming.response_bytes)

    async with connected(protocol, topology, handle) as call:

        async def hop() -> None:
            with tracer.start_as_current_span(
                client.name, within(entering(sampled)), SpanKind.CLIENT, client.attributes
            ) as span:
                said = span.get_span_context()
                trace = TraceContext(said.trace_id, said.span_id, said.trace_flags.sampled)
                await call(sent(topology, trace))

        async def flush() -> None:
            await asyncio.to_thread(provider.force_flush)

        yield Side(name, hop, flush)
        await asyncio.to_thread(provider.shutdown)
        if exporter.exported != ended.count:
            raise SystemExit(f"{name}: {ended.count - exporter.exported} spans lost")


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
    call = channel.unary_unary("/bare.Inventory/Reserve", None, None)
    yield Side("bare", lambda: call(body))
    await channel.close(None)
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
                official(protocol, endpoint, "official sampled", sampled=True),
                official(protocol, endpoint, "official unsampled", sampled=False),
                by_hand(protocol, endpoint, "sdk sampled", sampled=True),
                by_hand(protocol, endpoint, "sdk unsampled", sampled=False),
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
        float(a / b) for a, b in zip(getattr(side, of), getattr(against, of), strict=True)
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
        judged = ratio(side, floor_, "per_cpu")
        verdict = (
            "" if target is None else f"  >= {target} {'ok' if judged >= target else 'MISSED'}"
        )
        print(
            f"{side.name:18}{side.hops / side.wall_s:8.0f}{side.hops / side.cpu_s:11.0f}"
            f"{ratio(side, floor_, 'per_wall'):8.2f}{judged:12.2f}"
            f"{ratio(side, bare, 'per_wall'):8.2f}{ratio(side, bare, 'per_cpu'):11.2f}{verdict}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=10.0, help="measured for each side")
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
                    measure(protocol, endpoint, arguments.only, arguments.seconds, arguments.slice)
                )
            table(protocol, sides)


if __name__ == "__main__":
    main()
