"""A receiver that answers OTLP/gRPC and keeps nothing but counts, in a process of its own.

Its CPU is no part of any figure: an exporter pays for sending, not for what the far end does.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, Final

import grpc
import uvloop

SERVICES: Final = (
    "opentelemetry.proto.collector.trace.v1.TraceService",
    "opentelemetry.proto.collector.metrics.v1.MetricsService",
)


@contextlib.contextmanager
def sink(cpu: int | None = None) -> Iterator[str]:
    """Run one while the block runs; yields its ``HOST:PORT``."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.sink"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        port = int(process.stdout.readline())
        if cpu is not None:
            os.sched_setaffinity(process.pid, {cpu})
        yield f"127.0.0.1:{port}"
    finally:
        process.stdin.close()
        process.wait(10)


async def _export(_request: bytes, _context: Any) -> bytes:
    return b""


async def _serve() -> None:
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", -1)])
    for service in SERVICES:
        method = grpc.unary_unary_rpc_method_handler(_export)
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service, {"Export": method}),)
        )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    # The parent closes the pipe, by will or by dying.
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(0)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve())
