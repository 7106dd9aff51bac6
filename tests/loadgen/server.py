"""A callee for tests: ``python -m tests.loadgen.server HEADS`` answers over HTTP and gRPC.

Operations: ``fast``; ``broken`` (500 / INTERNAL); ``slow`` (0.3 s); ``stuck`` (30 s); ``abrupt``
(hangs up, HTTP only). Prints its two ports as JSON, writes what it was sent to HEADS, a JSON line
each, and ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
from aiohttp import web

from services.pb.hop_pb2 import HopReply, HopRequest
from services.scenario.names import camel
from services.wire.ticket import parse_header

WAITS = {"fast": 0.0, "broken": 0.0, "slow": 0.3, "stuck": 30.0}
Note = Callable[[dict[str, Any]], None]


def http(note: Note) -> web.Application:
    async def answer(request: web.Request) -> web.StreamResponse:
        body = await request.read()
        operation = request.match_info["operation"]
        note(
            {
                "protocol": "http",
                "operation": operation,
                "key": request.match_info.get("key"),
                "bytes": len(body),
                "hopbench": request.headers["hopbench"],
                "traceparent": request.headers.get("traceparent"),
            }
        )
        if operation == "abrupt":
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        await asyncio.sleep(WAITS[operation])
        size = parse_header(request.headers["hopbench"]).response_bytes
        return web.Response(status=500 if operation == "broken" else 200, body=bytes(size))

    application = web.Application()
    application.router.add_post("/{operation}", answer)
    application.router.add_post("/{operation}/{key}", answer)
    return application


def rpc(operation: str, note: Note) -> grpc.RpcMethodHandler[Any, Any]:
    async def answer(request: HopRequest, context: grpc.aio.ServicerContext[Any, Any]) -> HopReply:
        metadata = dict(context.invocation_metadata() or ())
        note(
            {
                "protocol": "grpc",
                "operation": operation,
                "key": request.key if request.HasField("key") else None,
                "bytes": len(request.payload),
                "hopbench": metadata["hopbench"],
                "traceparent": metadata.get("traceparent"),
            }
        )
        await asyncio.sleep(WAITS[operation])
        if operation == "broken":
            await context.abort(grpc.StatusCode.INTERNAL, "as asked")
        return HopReply(payload=bytes(parse_header(str(metadata["hopbench"])).response_bytes))

    return grpc.unary_unary_rpc_method_handler(
        answer, HopRequest.FromString, HopReply.SerializeToString
    )


async def serve(heads: Path) -> None:
    with heads.open("a") as log:

        def note(what: dict[str, Any]) -> None:
            print(json.dumps(what), file=log, flush=True)

        runner = web.AppRunner(http(note), handler_cancellation=True)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, shutdown_timeout=0.1)
        await site.start()
        server = grpc.aio.server()
        methods = {camel(operation): rpc(operation, note) for operation in WAITS}
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("hopbench.v1.Shop", methods),)
        )
        grpc_port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        http_port = runner.addresses[0][1]
        print(json.dumps({"http": http_port, "grpc": grpc_port}), flush=True)
        await asyncio.to_thread(sys.stdin.read)
        await server.stop(0)
        await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
