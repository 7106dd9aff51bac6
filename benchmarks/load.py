"""What one generator core can send, and how punctual it is: HTTP and gRPC, open loop, one process.

Run ``python -m benchmarks.load`` from the checkout. The generator is pinned to the first core and a
server that does nothing to the second, so the figures are the generator's own; the rate at which it
saturates is looked for by steps. Each figure stands beside its target; ``--quick`` halves the time.
``--workers N`` measures a master and N workers instead, at N times the rates, on N cores of their
own where there are so many.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic_ns
from typing import Any, Final

import numpy as np
import uvloop

from hopbench.engines.wall.generator import start_generator
from loadgen import launch
from loadgen.counts import Counts
from loadgen.messages import Finished, Ready, Said, Start
from loadgen.plan import Plan
from loadgen.schedule import MEASURED
from loadgen.spool.reader import merged, read
from services import codec
from services.scenario.distributions import Constant
from services.scenario.model import Entry, Load, Protocol, Target
from services.scenario.pace import Open
from services.wire.ports import Address

PROTOCOLS: Final[tuple[Protocol, ...]] = ("http", "grpc")
TARGET_RPS: Final[dict[str, float]] = {"http": 4000.0, "grpc": 2000.0}
STEPS: Final[dict[str, tuple[float, ...]]] = {
    "http": (4000, 6000, 8000, 10000, 12000, 15000),
    "grpc": (2000, 2500, 3000, 3500, 4000, 5000),
}
LAG_MS: Final = 1.0
HALVES: Final = 3
"""So often half the target is measured; the round with the median lag is reported."""
KEPT: Final = 0.98
_NANO: Final = 1_000_000_000
_ANSWER: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: 200\r\n\r\n"
    + bytes(200)
)


@dataclass(frozen=True, slots=True)
class Figure:
    offered_rps: float
    achieved_rps: float
    """Sent in the measured phase, over its length."""
    lag_p99_ms: float
    cpu_share: float
    """Of one core; the busiest worker's, where there are several."""
    waited_share: float
    """Of the time, ready to run while somebody else had the core: lag that is not our own."""
    failed: int


class _NullHttp(asyncio.Protocol):
    """Answers every request whole in one segment without looking at it: about 3 µs each."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(_ANSWER)


async def _serve(protocol: Protocol) -> None:
    if protocol == "http":
        server = await asyncio.get_running_loop().create_server(_NullHttp, "127.0.0.1", 0)
        print(server.sockets[0].getsockname()[1], flush=True)
    else:
        import grpc  # noqa: PLC0415  # only the server process of this protocol pays for it

        async def nothing(request: bytes, context: object) -> bytes:
            return b"\x0a\xc8\x01" + bytes(200)

        handler = grpc.unary_unary_rpc_method_handler(nothing)
        aio = grpc.aio.server()
        aio.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("hopbench.v1.Null", {"Nothing": handler}),)
        )
        print(aio.add_insecure_port("127.0.0.1:0"), flush=True)
        await aio.start()
    await asyncio.to_thread(sys.stdin.read)


@contextmanager
def _server(protocol: Protocol, core: int) -> Iterator[int]:
    line = [sys.executable, "-m", "benchmarks.load", "--serve", protocol]
    with subprocess.Popen(
        line,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        os.sched_setaffinity(process.pid, {core})
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.stdin.close()


@dataclass(frozen=True, slots=True)
class Rig:
    protocol: Protocol
    port: int
    """Where the server that does nothing listens."""
    core: int
    """The generator's."""
    seconds: float
    """Measured, after one of warm-up."""
    directory: Path
    workers: int = 1
    """Above 1 beside a master, from the generator's core on."""


def measure(rig: Rig, rate: float) -> Figure:
    seconds, directory = rig.seconds, rig.directory
    target = Target("null", "nothing")
    entry = Entry(target, rig.protocol, 1.0, Constant(100), Constant(200), None, _NANO)
    load = Load(Open("poisson", rate), int(seconds * _NANO), _NANO, 2000, (entry,))
    plan = Plan(
        seed=1,
        load=load,
        addresses=((Address("127.0.0.1", {"http": rig.port, "grpc": rig.port}),),),
        trace_ratio=0.5,
        tracing=True,
        trace_salt=0,
        samples=directory / "samples.spool",
    )
    plan.write(directory / "plan.json")
    counts = _alone(rig) if rig.workers == 1 else asyncio.run(_shared(rig))
    records = merged([read(spool) for spool in directory.glob("samples*.spool")])
    measured = records[records["phase"] == MEASURED]
    sent = measured[measured["sent_ns"] >= 0]
    return Figure(
        offered_rps=len(measured) / seconds,
        achieved_rps=_within(sent, seconds, counts.start_ns + _NANO) / seconds,
        lag_p99_ms=float(np.quantile(sent["sent_ns"] - sent["intended_ns"], 0.99)) / 1e6,
        cpu_share=counts.core_share or 0.0,
        waited_share=(counts.core_wait_ns or 0) / counts.elapsed_ns,
        failed=counts.error + counts.timeout,
    )


def _alone(rig: Rig) -> Counts:
    directory = rig.directory
    ours, theirs = socket.socketpair()
    with (
        ours,
        (directory / "locust.log").open("wb") as log,
        subprocess.Popen(
            launch.command(),
            env=launch.environment(os.environ, directory / "plan.json", theirs.fileno()),
            cwd=directory,
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        ) as process,
    ):
        os.sched_setaffinity(process.pid, {rig.core})
        theirs.close()
        return _follow(ours)


async def _shared(rig: Rig) -> Counts:
    log = rig.directory / "locust.log"
    generator = await start_generator(rig.directory / "plan.json", log, None, rig.workers)
    try:
        await generator.ready()
        cores = sorted(os.sched_getaffinity(0))[:-1] or [rig.core]
        for number, pid in enumerate(generator.pids[1:]):
            os.sched_setaffinity(pid, {cores[number % len(cores)]})
        return await generator.run(monotonic_ns() + 200_000_000)
    finally:
        await generator.stop()


def _within(sent: Any, seconds: float, start_ns: int) -> int:
    """A generator that falls behind sends everything in the end: count what left in time."""
    return int(np.count_nonzero(sent["sent_ns"] < start_ns + seconds * _NANO))


def _follow(control: socket.socket) -> Counts:
    with control.makefile("rwb") as lines:
        for line in lines:
            said: Said = codec.decode(Said, line)
            if isinstance(said, Ready):
                lines.write(codec.encode(Start(monotonic_ns() + 100_000_000)) + b"\n")
                lines.flush()
            if isinstance(said, Finished):
                return said.counts
    raise SystemExit("the generator ended early; see locust.log")


def knee(rig: Rig) -> Figure:
    """The last step of :data:`STEPS` at which the generator kept pace."""
    steps = [rate * rig.workers for rate in STEPS[rig.protocol]]
    best = measure(rig, steps[0])
    for rate in steps[1:]:
        figure = measure(rig, rate)
        if figure.achieved_rps < KEPT * figure.offered_rps or figure.failed:
            break
        best = figure
    return best


def report(rig: Rig, half: Figure, best: Figure) -> bool:
    """Print the figures beside their targets; whether all were met."""
    protocol, target = rig.protocol, TARGET_RPS[rig.protocol] * rig.workers
    what = "one core" if rig.workers == 1 else f"{rig.workers} workers"
    there = f"{target / 2:,.0f}/s"
    kept = half.achieved_rps / half.offered_rps
    rows = (
        (f"requests/s from {what}", f"{best.achieved_rps:,.0f}", f">= {target:,.0f}",
         best.achieved_rps >= KEPT * target),
        (f"lag P99 at {there}", f"{half.lag_p99_ms:.2f} ms", f"< {LAG_MS} ms",
         half.lag_p99_ms < LAG_MS),
        (f"achieved / offered at {there}", f"{kept:.4f}", f">= {KEPT}", kept >= KEPT),
    )  # fmt: skip
    for figure, got, wanted, ok in rows:
        word = "ok" if ok else "MISSED"
        print(f"{protocol:5} {figure:32} {got:>10}   target {wanted:10} {word}")
    print(
        f"      generator CPU {half.cpu_share:.0%} of a core at {there}, {best.cpu_share:.0%} at "
        f"{best.offered_rps:,.0f}/s, where lag P99 is {best.lag_p99_ms:.2f} ms; it waited for its "
        f"core {half.waited_share:.1%} and {best.waited_share:.1%} of the time",
        flush=True,
    )
    return all(ok for *_, ok in rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--serve", choices=PROTOCOLS, help=argparse.SUPPRESS)
    parser.add_argument("--workers", type=int, default=1, metavar="N")
    options = parser.parse_args()
    if options.serve:
        uvloop.run(_serve(options.serve))
        return 0
    seconds = 3.0 if options.quick else 6.0
    cores = sorted(os.sched_getaffinity(0))
    met = True
    for protocol in PROTOCOLS:
        with (
            tempfile.TemporaryDirectory(prefix="hopbench-load-") as name,
            _server(protocol, cores[-1]) as port,
        ):
            rig = Rig(protocol, port, cores[0], seconds, Path(name), options.workers)
            rate = TARGET_RPS[protocol] / 2 * rig.workers
            halves = [measure(rig, rate) for _ in range(HALVES)]
            half = sorted(halves, key=lambda figure: figure.lag_p99_ms)[HALVES // 2]
            met &= report(rig, half, knee(rig))
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
