"""HTTP/1.1 between services: aiohttp on both sides.

Every operation has two routes, ``POST /<operation>`` and ``POST /<operation>/{key}``, so that
``http.route`` names the operation and never a key.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from time import monotonic_ns
from typing import Final, cast
from urllib.parse import quote, unquote

from aiohttp import ClientConnectionError, ClientError, ClientRequest, ClientSession, web
from aiohttp.client import ClientTimeout
from aiohttp.connector import TCPConnector
from aiohttp.cookiejar import DummyCookieJar
from yarl import URL

from services.errors import CannotStart
from services.scenario.names import http_path, keyed, keyed_route
from services.transports.site import WARM_CONNECTIONS, BrokerKind, Site
from services.wire import ticket, traceparent
from services.wire.headers import DETAIL, headers
from services.wire.payload import BLOCK, payload
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
from services.wire.statuses import HTTP, OF_HTTP

_IDLE_S: Final = 3600.0
"""Idle connections outlive any round; one closed under a request would look like a fault."""
_CONNECT_S: Final = 10.0
_AGAIN_S: Final = 3.0
"""So long a first connection that is refused is tried again."""
_PAUSE_S: Final = 0.1
_NO_TIMEOUT: Final = ClientTimeout(total=None, sock_connect=_CONNECT_S)
_BACKLOG: Final = 1024
_MALFORMED: Final = "malformed hopbench header"
_PLAIN: Final = " !'()*+,/:;<=>?@[]{}"
"""Kept as it is in a detail; the rest is percent-encoded: a header is one line of ASCII."""
_CUT_S: Final = 0.001
_UNWIND_S: Final = 1.0
"""How long cancelled handlers may take to unwind."""


def settings(kind: BrokerKind | None) -> Mapping[str, object]:
    return {
        "pool_limit": 0,
        "idle_s": _IDLE_S,
        "connect_s": _CONNECT_S,
        "backlog": _BACKLOG,
        "warm_connections": WARM_CONNECTIONS,
    }


def client(site: Site) -> Transport:
    return HttpTransport(site)


def listener(site: Site) -> Listener:
    return HttpListener(site)


async def _blocks(size: int) -> AsyncIterator[bytes]:
    for start in range(0, size, len(BLOCK)):
        yield BLOCK[: size - start]  # type: ignore[misc]  # aiohttp writes any buffer


class HttpTransport:
    """One pool for the process, unbounded: a call never waits for a connection to come free."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._peer = site.peer
        self._session = ClientSession(
            connector=TCPConnector(
                limit=0, keepalive_timeout=_IDLE_S, use_dns_cache=True, ttl_dns_cache=None
            ),
            timeout=_NO_TIMEOUT,
            cookie_jar=DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            trace_configs=list(site.hooks.aiohttp_trace_configs),
        )
        self._bases: dict[tuple[str, int], str] = {}
        self._urls: dict[tuple[int, int], URL] = {}

    async def connect(self, directory: Directory) -> None:
        wires = list(self._site.outgoing("http"))
        for callee in {wire.callee for wire in wires}:
            for replica, address in enumerate(directory[callee]):
                port = address.ports.get("http")
                if port is not None:
                    self._bases[callee, replica] = f"http://{address.host}:{port}"
        for wire in wires:
            for (callee, replica), base in self._bases.items():
                if callee == wire.callee:
                    self._urls[wire.index, replica] = URL(base + wire.http_path, encoded=True)
        await asyncio.gather(*(self._warm(*item) for item in self._bases.items()))

    async def _warm(self, callee: tuple[str, int], base: str) -> None:
        """Open connections without a request: one would be a call that no step made.

        Tried again for a while, as gRPC's channels do by themselves: on the network of containers
        that have just started, an address may not be reached at once.
        """
        connector = self._session.connector
        assert connector is not None
        loop = asyncio.get_running_loop()
        request = ClientRequest("POST", URL(base), loop=loop)
        until = loop.time() + _AGAIN_S
        while True:
            opened = await asyncio.gather(
                *(
                    connector.connect(request, [], _NO_TIMEOUT)
                    for _ in range(self._site.warm_connections)
                ),
                return_exceptions=True,
            )
            refused = [one for one in opened if isinstance(one, BaseException)]
            for connection in opened:
                if not isinstance(connection, BaseException):
                    connection.release()
            if not refused:
                return
            error = refused[0]
            if not isinstance(error, ClientError | TimeoutError):
                raise error
            if loop.time() >= until:
                # aiohttp's own text leaves out what the system said.
                number = getattr(error, "errno", None)
                why = str(error) if number is None else os.strerror(number)
                raise CannotStart(
                    self._peer, f"no connection to {callee[0]}/{callee[1]} at {base}: {why}"
                ) from error
            await asyncio.sleep(_PAUSE_S)

    async def call(self, out: Outgoing) -> Reply:
        wire = out.wire
        url = self._urls.get((wire.index, out.replica))
        if url is None:
            return Reply(Status.UNAVAILABLE, 0, f"no address of {wire.callee}/{out.replica}")
        if out.key is not None:
            url = URL(keyed(str(url), out.key), encoded=True)
        said = dict(headers(out, self._peer))
        size = out.request_bytes
        if size > len(BLOCK):
            said["content-length"] = str(size)
            data: object = _blocks(size)
        else:
            data = payload(size)
        try:
            response = await self._session.post(url, data=data, headers=said)
            body = await response.read()
        except TimeoutError as error:
            return Reply(Status.TIMEOUT, 0, str(error))
        except ClientConnectionError as error:
            return Reply(Status.UNAVAILABLE, 0, str(error))
        except ClientError as error:
            return Reply(Status.ERROR, 0, str(error))
        if response.status == HTTP[Status.OK]:
            return Reply(Status.OK, len(body))
        return Reply(
            OF_HTTP.get(response.status, Status.ERROR),
            len(body),
            unquote(response.headers.get(DETAIL, f"HTTP {response.status}")),
        )

    async def publish(self, out: Outgoing) -> Reply:
        return Reply(Status.ERROR, 0, "HTTP has no publish")

    async def close(self) -> None:
        await self._session.close()


class _Refusal(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).abort()


class HttpListener:
    def __init__(self, site: Site) -> None:
        self._site = site
        self._app = web.Application(
            middlewares=list(site.hooks.aiohttp_middlewares),
            client_max_size=0,
        )
        # A caller that hung up cancels its handler, so that cancelled work stops.
        self._runner = web.AppRunner(
            self._app, handler_cancellation=True, access_log=None, keepalive_timeout=_IDLE_S
        )
        self._socket: asyncio.Server | None = None
        self._open: set[asyncio.Task[object]] = set()

    async def start(self, handler: Handler) -> int:
        for operation in self._site.operations():
            route = _route(self._site.service, operation, handler, self._open)
            for path in (http_path(operation), keyed_route(http_path(operation))):
                self._app.router.add_post(path, route)
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        try:
            self._socket = await loop.create_server(
                self._accept, self._site.host, 0, backlog=_BACKLOG
            )
        except OSError as error:
            raise CannotStart(
                self._site.peer, f"cannot listen on {self._site.host}: {error}"
            ) from error
        port: int = self._socket.sockets[0].getsockname()[1]
        return port

    def _accept(self) -> asyncio.Protocol:
        """Connections that the kernel had taken before the socket closed still come in after it."""
        server = self._runner.server
        return _Refusal() if self._socket is None or server is None else server()

    async def stop(self, grace_ns: int) -> None:
        server = self._runner.server
        if self._socket is None or server is None:
            return
        self._socket.close()
        self._socket = None
        # A connection accepted just now is made known to the server on the loop's next turn.
        await asyncio.sleep(0)
        server.pre_shutdown()
        if self._open:
            # Not left to shutdown(): it would wait twice its timeout, and for ever where that is 0.
            await asyncio.wait(set(self._open), timeout=grace_ns / 1e9)
        await server.shutdown(_CUT_S)
        if self._open:
            await asyncio.wait(set(self._open), timeout=_UNWIND_S)
        await self._runner.cleanup()


def _reset(request: web.Request) -> None:
    """Cut the connection as a peer that dies does: what is answered now reaches nobody."""
    connection = request.transport
    if connection is not None:
        end = connection.get_extra_info("socket")
        # Closed with time to linger 0, TCP sends RST instead of FIN.
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.abort()


def _route(
    service: str, operation: str, handler: Handler, open_tasks: set[asyncio.Task[object]]
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def route(request: web.Request) -> web.StreamResponse:
        received_ns = monotonic_ns()
        task = asyncio.current_task()
        assert task is not None
        open_tasks.add(task)
        try:
            body = await request.read()
            try:
                header = ticket.parse_header(request.headers.get(ticket.HEADER))
            except ValueError:
                return web.Response(status=400, headers={DETAIL: _MALFORMED})
            reply = await handler(
                Incoming(
                    service=service,
                    operation=operation,
                    protocol="http",
                    mode="call",
                    ticket=header.ticket,
                    key=request.match_info.get("key"),
                    request_bytes=len(body),
                    response_bytes=header.response_bytes,
                    timeout_ns=header.timeout_ns,
                    attempt=header.attempt,
                    trace=traceparent.parse(request.headers.get(traceparent.HEADER)),
                    received_ns=received_ns,
                    peer=header.peer,
                )
            )
        finally:
            open_tasks.discard(task)
        if reply.status is Status.UNAVAILABLE:
            _reset(request)
        response = web.Response(status=HTTP[reply.status], body=payload(reply.response_bytes))
        if reply.detail:
            response.headers[DETAIL] = quote(reply.detail, safe=_PLAIN)
        return response

    return route
