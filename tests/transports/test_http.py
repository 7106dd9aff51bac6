"""What HTTP alone promises."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import aiohttp
import pytest
from aiohttp import web

from services.errors import CannotStart
from services.transports import http
from services.transports.site import Counters, Hooks, Site
from services.wire import ticket
from services.wire.ports import Address, Reply, Status
from services.wire.topology import Topology
from tests.transports.build import Recorder, Run, outgoing, running, wire


def test_a_cancelled_call_leaves_no_broken_connection_behind(run: Run) -> None:
    async def main() -> None:
        to = wire("http")
        recorder = Recorder()
        async with running(to, recorder=recorder) as it:
            for _ in range(20):
                call = asyncio.create_task(it.transport.call(outgoing(to)))
                await asyncio.sleep(0)
                call.cancel()
                assert await it.transport.call(outgoing(to)) == Reply(Status.OK, 20)

    run(main)


@pytest.mark.slow
def test_a_callee_that_does_not_listen_cannot_be_connected_to(run: Run) -> None:
    async def main() -> None:
        to = wire("http")
        async with running(to) as it:
            await it.listeners["b/0"].stop(0)
            other = http.client(it.sites["a/0"])
            with pytest.raises(CannotStart, match="no connection to b/0"):
                await other.connect(it.addresses)
            await other.close()

    run(main)


def test_connections_are_open_before_the_first_request_and_carry_nothing(run: Run) -> None:
    async def main() -> None:
        to = wire("http")
        opened: list[asyncio.StreamReader] = []
        all_open = asyncio.Event()

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            opened.append(reader)
            if len(opened) == 5:
                all_open.set()
            assert await reader.read() == b""
            writer.close()

        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        site = Site("a", 0, 1, Topology((), (to,), {}, {}), Counters(), warm_connections=5)
        transport = http.client(site)
        await transport.connect({"b": (Address("127.0.0.1", {"http": port}),)})
        await all_open.wait()
        await transport.close()
        server.close()
        await server.wait_closed()

    run(main)


def test_the_route_names_the_operation_and_never_the_key(run: Run) -> None:
    async def main() -> None:
        routes: list[tuple[str, str]] = []

        @web.middleware
        async def look(
            request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
        ) -> web.StreamResponse:
            resource = request.match_info.route.resource
            assert resource is not None
            routes.append((resource.canonical, request.path))
            return await handler(request)

        to = wire("http")
        async with running(to, hooks=Hooks(aiohttp_middlewares=(look,))) as it:
            await it.transport.call(outgoing(to))
            await it.transport.call(outgoing(to, key="17"))
        assert routes == [("/reserve", "/reserve"), ("/reserve/{key}", "/reserve/17")]

    run(main)


def test_trace_configs_of_an_instrumentation_see_each_call(run: Run) -> None:
    async def main() -> None:
        config = aiohttp.TraceConfig()
        seen: list[str] = []

        async def started(
            _: aiohttp.ClientSession, __: object, params: aiohttp.TraceRequestStartParams
        ) -> None:
            params.headers["traceparent"] = "00-" + "a" * 32 + "-" + "b" * 16 + "-00"
            seen.append(params.url.path)

        config.on_request_start.append(started)
        recorder = Recorder()
        to = wire("http")
        hooks = Hooks(aiohttp_trace_configs=(config,))
        async with running(to, hooks=hooks, recorder=recorder) as it:
            await it.transport.call(outgoing(to, trace=None))
        assert seen == ["/reserve"]
        assert recorder.last.trace == (int("a" * 32, 16), int("b" * 16, 16), False)

    run(main)


@pytest.mark.parametrize(
    ("path", "headers", "code"),
    [
        ("/reserve", {}, 200),
        ("/reserve/7", {}, 200),
        ("/reserve", {ticket.HEADER: "no header"}, 400),
        ("/reserve/7/8", {}, 404),
        ("/unknown", {}, 404),
    ],
)
def test_a_person_with_curl_gets_an_answer(
    path: str, headers: dict[str, str], code: int, run: Run
) -> None:
    async def main() -> None:
        recorder = Recorder()
        async with running(wire("http"), recorder=recorder) as it, aiohttp.ClientSession() as curl:
            url = f"http://127.0.0.1:{it.addresses['b'][0].ports['http']}{path}"
            async with curl.post(url, data=b"abc", headers=headers) as response:
                assert response.status == code
        assert len(recorder.seen) == (code == 200)
        if recorder.seen:
            assert recorder.last.request_bytes == 3
            assert len(ticket.item_keys(recorder.last.ticket)) == 1

    run(main)
