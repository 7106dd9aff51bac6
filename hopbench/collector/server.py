"""The embedded OTLP collector: takes traces, metrics and logs, and keeps them as they came.

OTLP over gRPC and over HTTP (protobuf and JSON, gzip) from any exporter. Each accepted request is
appended to ``traces.otlp``, ``metrics.otlp`` or ``logs.otlp`` before it is answered, so what an
exporter was told is kept is in the file. A request that the disk does not take is answered with a
retryable error and counted as refused; the process then ends with exit code 5.

``GET /hopbench/counts`` on the HTTP port tells what is in the files.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import grpc
import uvloop
from aiohttp import web
from google.protobuf.message import Message
from google.rpc.code_pb2 import Code
from google.rpc.status_pb2 import Status

from hopbench.collector.otlp import SIGNALS, Encoding, Junk, Signal, TooLarge, answer, inflate, take
from hopbench.collector.spool import Spool, open_spool
from hopbench.host.ports import listen
from hopbench.parts.part import LastWords
from services import codec
from services.errors import CannotStart
from services.system.death import die_with, stop_asked
from services.system.endpoints import Endpoint
from services.system.title import set_title

LARGEST_REQUEST = 64 * 1024 * 1024
"""Bytes after decompression; the Collector's own default is 20 MiB, a batch of spans is < 1 MiB."""
_RETRY_AFTER_S = 1
_ENCODINGS: dict[str, Encoding] = {
    "application/x-protobuf": "protobuf",
    "application/json": "json",
}
_CONTENT_TYPES = {encoding: name for name, encoding in _ENCODINGS.items()}


class DiskRefuses(Exception):
    """The disk does not take what was accepted; the sender may try again."""


@dataclass(frozen=True, slots=True)
class Ready:
    """What a collector says once it listens, as a line of JSON."""

    pid: int
    out: str
    grpc_port: int
    http_port: int
    schema: Literal["hopbench.collect/1"] = "hopbench.collect/1"


@dataclass(frozen=True, slots=True)
class Counts:
    """What is in the files, and what is not."""

    spans: int
    metric_points: int
    log_records: int
    requests: int
    bytes: int
    rejected: int
    """Items that no reader could use."""
    refused: int
    """Requests that the disk did not take."""
    disk: str | None
    """What it said when it last refused one."""


@dataclass(slots=True)
class Intake:
    """Everything that arrives, whatever the protocol, goes through :meth:`keep`."""

    out: Path
    spools: dict[str, Spool] = field(default_factory=dict)
    items: dict[str, int] = field(default_factory=lambda: {s.items: 0 for s in SIGNALS})
    requests: int = 0
    kept_bytes: int = 0
    rejected: int = 0
    refused: int = 0
    disk: str | None = None
    on_refusal: Callable[[], None] = lambda: None

    def open(self) -> None:
        """Make the directory and try the first spool. Raises CannotStart."""
        try:
            self.out.mkdir(parents=True, exist_ok=True)
            self._spool(SIGNALS[0])
        except OSError as error:
            text = f"cannot write to {self.out}: {error.strerror}"
            raise CannotStart("collector", text, hint="--out takes another directory") from error

    def keep(self, wanted: Signal, body: bytes, encoding: Encoding) -> Message:
        """Append the request to its spool, count it, and return the answer.

        Raises Junk, or DiskRefuses with nothing written and nothing counted but the refusal.
        """
        taken = take(wanted, body, encoding)
        try:
            self._spool(wanted).append(taken.record)
        except OSError as error:
            self.refused += 1
            text = f"{self.out}: {error.strerror or error}"
            if self.disk is None:
                _tell(f"collector: cannot write to {text}; senders are asked to try again")
            self.disk = text
            self.on_refusal()
            raise DiskRefuses(text) from error
        self.requests += 1
        self.kept_bytes += len(taken.record)
        self.items[wanted.items] += taken.items
        self.rejected += taken.rejected
        return wanted.response(taken.rejected, taken.why)

    def _spool(self, wanted: Signal) -> Spool:
        spool = self.spools.get(wanted.name)
        if spool is None:
            path = self.out / f"{wanted.name}.otlp"
            spool, lost = open_spool(path)
            if lost:
                _tell(f"collector: {path} ended in a broken record; cut off {lost} bytes")
            self.spools[wanted.name] = spool
        return spool

    def counts(self) -> Counts:
        return Counts(
            **self.items,
            requests=self.requests,
            bytes=self.kept_bytes,
            rejected=self.rejected,
            refused=self.refused,
            disk=self.disk,
        )

    def close(self) -> None:
        for spool in self.spools.values():
            spool.close()
        self.spools.clear()


# --- HTTP -------------------------------------------------------------------------------------


def _application(intake: Intake) -> web.Application:
    app = web.Application(client_max_size=LARGEST_REQUEST)
    for wanted in SIGNALS:
        app.router.add_post(wanted.path, partial(_export, intake, wanted))
    app.router.add_get("/hopbench/counts", partial(_counts, intake))
    return app


async def _counts(intake: Intake, _request: web.Request) -> web.Response:
    return web.Response(body=codec.encode(intake.counts()), content_type="application/json")


async def _export(intake: Intake, wanted: Signal, request: web.Request) -> web.Response:
    encoding = _ENCODINGS.get(request.content_type)
    if encoding is None:
        return _refusal(
            415,
            "protobuf",
            Code.INVALID_ARGUMENT,
            f"content type {request.content_type!r} is not one of {', '.join(_ENCODINGS)}",
        )
    compression = request.headers.get("Content-Encoding", "identity").lower()
    if compression not in {"identity", "gzip", "deflate"}:
        return _refusal(
            415, encoding, Code.INVALID_ARGUMENT, f"content encoding {compression!r}, not gzip"
        )
    try:
        body = await request.read()
        if compression != "identity":
            body = inflate(body, LARGEST_REQUEST)
        message = intake.keep(wanted, body, encoding)
    except (web.HTTPRequestEntityTooLarge, TooLarge):
        text = f"body above {LARGEST_REQUEST} bytes"
        return _refusal(413, encoding, Code.INVALID_ARGUMENT, text)
    except Junk as error:
        return _refusal(400, encoding, Code.INVALID_ARGUMENT, str(error))
    except DiskRefuses as error:
        return _refusal(503, encoding, Code.UNAVAILABLE, str(error))
    return web.Response(body=answer(message, encoding), content_type=_CONTENT_TYPES[encoding])


def _refusal(status: int, encoding: Encoding, code: int, text: str) -> web.Response:
    headers = {"Retry-After": str(_RETRY_AFTER_S)} if status == 503 else None
    return web.Response(
        status=status,
        body=answer(Status(code=code, message=text), encoding),
        content_type=_CONTENT_TYPES[encoding],
        headers=headers,
    )


# --- gRPC -------------------------------------------------------------------------------------

_Rpc = Callable[[bytes, "grpc.aio.ServicerContext[bytes, bytes]"], Awaitable[bytes]]


def _rpc(intake: Intake, wanted: Signal) -> _Rpc:
    async def export(body: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        try:
            return intake.keep(wanted, body, "protobuf").SerializeToString()
        except Junk as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except DiskRefuses as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))

    return export


def _grpc_server(intake: Intake) -> grpc.aio.Server:
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", LARGEST_REQUEST),
            # Without this a second collector would share the port and take half of the spans.
            ("grpc.so_reuseport", 0),
        ]
    )
    for wanted in SIGNALS:
        # No deserializer: the body stays the bytes that came.
        method = grpc.unary_unary_rpc_method_handler(_rpc(intake, wanted))
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(wanted.service, {"Export": method}),)
        )
    return server


# --- the process ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Listening:
    """A running collector. Ports are those actually taken."""

    intake: Intake
    host: str
    grpc_port: int
    http_port: int


@asynccontextmanager
async def collecting(
    out: Path, *, host: str = "127.0.0.1", grpc_port: int = 4317, http_port: int = 4318
) -> AsyncIterator[Listening]:
    """Take OTLP into ``out`` (made if missing) while the block runs. Port 0 takes a free one.

    Raises CannotStart for a taken port or a directory that can't be written.
    """
    intake = Intake(out)
    intake.open()
    async with AsyncExitStack() as stack:
        stack.callback(intake.close)
        http_socket = stack.enter_context(listen("collector", host, http_port, "--http-port"))
        # gRPC binds by itself and reports a taken port without a reason, so it is asked for first.
        listen("collector", host, grpc_port, "--grpc-port").close()
        server = _grpc_server(intake)
        try:
            bound_grpc = server.add_insecure_port(str(Endpoint(host, grpc_port)))
        except RuntimeError as error:
            raise CannotStart("collector", f"cannot listen on {host!r}: {error}") from None
        runner = web.AppRunner(
            _application(intake), access_log=None, handle_signals=False, auto_decompress=False
        )
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.SockSite(runner, http_socket).start()
        await server.start()
        stack.push_async_callback(server.stop, 1.0)
        yield Listening(intake, host, bound_grpc, http_socket.getsockname()[1])


async def _serve(
    out: Path, host: str, grpc_port: int, http_port: int, *, json_lines: bool, parent: int | None
) -> int:
    stop = stop_asked(parent)
    async with collecting(out, host=host, grpc_port=grpc_port, http_port=http_port) as listening:
        if parent is not None:
            # A round without its traces is worth nothing: the bench is told by our end.
            listening.intake.on_refusal = stop.set
        if json_lines:
            ready = Ready(os.getpid(), str(out), listening.grpc_port, listening.http_port)
            print(codec.encode(ready).decode(), flush=True)
        else:
            _tell(
                f"OTLP/gRPC on {Endpoint(host, listening.grpc_port)}, OTLP/HTTP on "
                f"http://{Endpoint(host, listening.http_port)}, into {out}. Ctrl-C ends."
            )
        await stop.wait()
    counts = listening.intake.counts()
    if parent is not None and counts.disk is not None:
        print(codec.encode(LastWords(f"cannot write {counts.disk}")).decode(), flush=True)
    if parent is None:
        _tell(
            f"kept {counts.spans} spans, {counts.metric_points} metric points and "
            f"{counts.log_records} log records in {out}"
        )
    return 5 if listening.intake.refused else 0


def collect(
    out: Path,
    *,
    host: str = "127.0.0.1",
    grpc_port: int = 4317,
    http_port: int = 4318,
    json_lines: bool = False,
    parent: int | None = None,
) -> int:
    """``hopbench collect``: run until SIGINT or SIGTERM, the ordinary way to end it.

    ``json_lines`` prints one JSON line with the ports on stdout when ready. ``parent`` is the pid
    of the process to die with, whose pipe is then standard input. Returns the exit code: 0, or 5
    where the disk refused something. Raises CannotStart.
    """
    if parent is not None:
        die_with(parent)
        set_title("hopbench: collector")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(
            _serve(out, host, grpc_port, http_port, json_lines=json_lines, parent=parent)
        )


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    """The form in which an engine starts it."""
    parser = argparse.ArgumentParser(prog="python -m hopbench.collector.server")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--grpc-port", type=int, default=0)
    parser.add_argument("--http-port", type=int, default=0)
    parser.add_argument("--parent", type=int, required=True)
    arguments = parser.parse_args()
    try:
        return collect(
            arguments.out,
            host=arguments.host,
            grpc_port=arguments.grpc_port,
            http_port=arguments.http_port,
            json_lines=True,
            parent=arguments.parent,
        )
    except CannotStart as error:
        _tell(str(error))
        return 5


if __name__ == "__main__":
    sys.exit(main())
