"""What tracing does to the tail: P99 with tracing over P99 without, at 800 requests a second.

Run ``python -m benchmarks.tail`` from the checkout. A service calls another one (three spans a
request, both in one process on the last core); an open-loop generator on the first core sends
Poisson arrivals, half of them sampled. Two such processes stand side by side, one traced (``lean``,
everything exported) and one without any telemetry; a pair is a short round of each, in seeded
order. All of it asks for real-time scheduling, where that is allowed, so that neighbours do not
decide the tail; it uses a third of the machine. The figure is the median of within-pair ratios; its
interval is that of order statistics, at least 95 %, which assumes nothing about how ratios are
distributed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import math
import os
import random
import statistics
import subprocess
import sys
from collections.abc import Iterator
from time import monotonic_ns
from typing import Final, Literal, cast

import uvloop

from benchmarks.shop import TICKET, connected, sent, shop
from benchmarks.sink import sink
from services.clocks.wall import WallClock
from services.telemetry.lean import LeanTelemetry, NullTelemetry
from services.telemetry.pipeline import Pipeline, resource_attributes
from services.telemetry.sender import Sender
from services.transports import listener
from services.transports.site import Counters, Site
from services.wire import ticket, traceparent
from services.wire.ports import Incoming, Reply, Status, TraceContext

RATE_RPS: Final = 800.0
TARGET: Final = 1.3
TRACE_RATIO: Final = 0.5
CONNECTIONS: Final = 256
LEVEL: Final = 0.95

SideName = Literal["lean", "off", "nothing"]


# --- the service process ----------------------------------------------------------------------


async def serve(side: SideName, endpoint: str) -> None:
    """``order`` over HTTP, which calls ``inventory`` over HTTP; runs until standard input ends."""
    topology = shop("http")
    wire = topology.wires[0]
    kind = LeanTelemetry if side == "lean" else NullTelemetry
    order, inventory = (kind(topology, name, 0, WallClock()) for name in ("order", "inventory"))
    used = () if side == "nothing" else (order, inventory)
    senders = [Sender(endpoint, endpoint) for _ in used]
    pipelines = [
        Pipeline(
            telemetry,
            sender,
            resource_attributes(telemetry.service, 0, "baseline"),
            spans=side == "lean",
        )
        for telemetry, sender in zip(used, senders, strict=True)
    ]

    async def reserve(incoming: Incoming) -> Reply:
        reply = Reply(Status.OK, incoming.response_bytes)
        if side != "nothing":
            inventory.server_end(inventory.server_begin(incoming), reply)
        return reply

    async with connected("http", topology, reserve) as call:

        async def create(incoming: Incoming) -> Reply:
            if side == "nothing":
                await call(sent(topology, None))
                return Reply(Status.OK, incoming.response_bytes)
            scope = order.server_begin(incoming)
            scope.calls += 1
            attempt = order.attempt_begin(wire, scope.trace, fanout=False)
            out = sent(topology, attempt.trace)
            order.attempt_end(attempt, out, 1, await call(out))
            reply = Reply(Status.OK, incoming.response_bytes)
            order.server_end(scope, reply)
            return reply

        entrance = listener("http", Site("order", 0, 1, topology, Counters()))
        port = await entrance.start(create)
        for pipeline in pipelines:
            await pipeline.start()
        gc.collect()
        gc.freeze()
        print(port, flush=True)
        await asyncio.to_thread(sys.stdin.read)
        for pipeline, sender in zip(pipelines, senders, strict=True):
            await pipeline.flush()
            print(pipeline.spans_ended, sender.exported["traces"], flush=True)
            await pipeline.close()
        await entrance.stop(0)


@contextlib.contextmanager
def serving(side: SideName, endpoint: str, cpu: int) -> Iterator[int]:
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.tail", "--serve", side, "--endpoint", endpoint],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        port = int(process.stdout.readline())
        os.sched_setaffinity(process.pid, {cpu})
        for thread in os.listdir(f"/proc/{process.pid}/task"):
            os.sched_setaffinity(int(thread), {cpu})
        yield port
    finally:
        process.stdin.close()
        left = process.stdout.read()
        process.wait(10)
        for line in left.splitlines():
            ended, exported = line.split()
            if ended != exported:
                raise SystemExit(f"{side}: {ended} spans ended, {exported} exported")


# --- the generator ----------------------------------------------------------------------------


class Connection(asyncio.Protocol):
    """One request at a time; every answer is small and of one known length."""

    def __init__(self, free: list[Connection], latencies_ns: list[int]) -> None:
        self._free = free
        self._latencies_ns = latencies_ns
        self._due_ns = 0
        self._got = b""
        self.transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none by inheritance.
        self.transport = cast(asyncio.WriteTransport, transport)
        self._free.append(self)

    def send(self, due_ns: int, request: bytes) -> None:
        assert self.transport is not None
        self._due_ns = due_ns
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._got += data
        head, _, body = self._got.partition(b"\r\n\r\n")
        at = head.lower().find(b"content-length: ")
        if at >= 0 and len(body) >= int(head[at + 16 :].split(b"\r\n", 1)[0]):
            self._latencies_ns.append(monotonic_ns() - self._due_ns)
            if not head.startswith(b"HTTP/1.1 200"):
                raise SystemExit(head.decode())
            self._got = b""
            self._free.append(self)


def request(number: int, chance: random.Random) -> bytes:
    trace = TraceContext(
        chance.getrandbits(128) | 1, chance.getrandbits(64) | 1, chance.random() < TRACE_RATIO
    )
    header = ticket.encode_header(TICKET, 128, None, 0, "")
    return (
        "POST /create HTTP/1.1\r\nHost: order\r\nContent-Length: 0\r\n"
        f"{ticket.HEADER}: {header}\r\n{traceparent.HEADER}: {traceparent.encode(trace)}\r\n\r\n"
    ).encode()


async def round_of(port: int, seconds: float, seed: int) -> float:
    """P99 in ms of one round, from the time each request was due."""
    loop = asyncio.get_running_loop()
    clock = WallClock()
    await clock.start()
    chance = random.Random(seed)
    free: list[Connection] = []
    latencies: list[int] = []
    opened = [
        await loop.create_connection(lambda: Connection(free, latencies), "127.0.0.1", port)
        for _ in range(CONNECTIONS)
    ]
    count = int(RATE_RPS * seconds)
    requests = [request(number, chance) for number in range(count)]
    due = monotonic_ns() + 10_000_000
    skip = int(RATE_RPS * min(0.5, seconds / 4))
    gc.collect()
    gc.disable()
    for body in requests:
        due += int(chance.expovariate(RATE_RPS) * 1e9)
        if (wait := due - monotonic_ns()) > 0:
            await clock.sleep(wait)
        if not free:
            raise SystemExit(f"{CONNECTIONS} requests are under way: the machine is too busy")
        free.pop().send(due, body)
    # All connections are free again when all answers are there.
    while len(free) < CONNECTIONS:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    gc.enable()
    for transport, _ in opened:
        transport.close()
    await clock.close()
    measured = sorted(latencies[skip:])
    return measured[math.ceil(0.99 * len(measured)) - 1] / 1e6


def median_interval(values: list[float]) -> tuple[float, float, float]:
    """Median, and the narrowest order-statistic interval around it with at least LEVEL."""
    ranked = sorted(values)
    n = len(ranked)
    below = 0.0
    rank = 0
    while rank < n // 2:
        step = math.comb(n, rank) / 2**n
        if 2 * (below + step) > 1 - LEVEL:
            break
        below += step
        rank += 1
    return statistics.median(ranked), ranked[max(rank - 1, 0)], ranked[n - max(rank, 1)]


def undisturbed() -> bool:
    """Ask for real-time scheduling, which children inherit; whether it was granted."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=24)
    parser.add_argument("--seconds", type=float, default=3.0, help="of one round")
    parser.add_argument(
        "--without", choices=("nothing", "off"), default="nothing", help="off: metrics stay on"
    )
    parser.add_argument("--serve", choices=("lean", "off", "nothing"), help=argparse.SUPPRESS)
    parser.add_argument("--endpoint", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if arguments.serve:
            runner.run(serve(arguments.serve, arguments.endpoint))
            return
        realtime = undisturbed()
        cores = sorted(os.sched_getaffinity(0))
        with (
            sink(cores[0]) as endpoint,
            serving("lean", endpoint, cores[-1]) as traced,
            serving(arguments.without, endpoint, cores[-1]) as plain,
        ):
            os.sched_setaffinity(0, {cores[0]})
            for port in (traced, plain):
                runner.run(round_of(port, 1.5, 0))
            with_, without, ratios = [], [], []
            for pair in range(arguments.pairs):
                order = random.Random(pair).sample((traced, plain), 2)
                p99 = {port: runner.run(round_of(port, arguments.seconds, pair)) for port in order}
                with_.append(p99[traced])
                without.append(p99[plain])
                ratios.append(p99[traced] / p99[plain])
    ratio, low, high = median_interval(ratios)
    print(
        f"P99 at {RATE_RPS:.0f} requests/s, {len(ratios)} pairs of {arguments.seconds:g} s: "
        f"{statistics.median(without):.3f} ms without tracing ({arguments.without}), "
        f"{statistics.median(with_):.3f} ms with"
        f"{'' if realtime else '; no real-time scheduling here: neighbours count, too'}\n"
        f"ratio {ratio:.2f} [{low:.2f}, {high:.2f}], target <= {TARGET} "
        f"{'ok' if ratio <= TARGET else 'MISSED'}"
    )


if __name__ == "__main__":
    main()
