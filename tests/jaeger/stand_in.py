"""A server that answers as Jaeger 2.13 with memory storage does, on a real socket.

Written from Jaeger's ``http_gateway.go`` and ``memory/tenant.go``: a search goes from the trace
stored last to the first, ends at the depth, and answers whole traces; nothing found is a 404.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from aiohttp import web

SECOND_NS = 10**9
SEARCH = "/api/v3/traces"
Api = Literal["v3", "camel", "legacy", "page"]
Fault = Literal["junk", "reset", "500", "empty"]
Ailing = Literal["500", "stall"]


@dataclass(frozen=True)
class Span:
    trace: str
    span: str
    service: str
    start_ns: int
    name: str = "POST /x"

    def otlp(self) -> dict[str, Any]:
        return {
            "resource": {
                "attributes": [{"key": "service.name", "value": {"stringValue": self.service}}]
            },
            "scopeSpans": [
                {
                    "spans": [
                        {
                            "traceId": self.trace,
                            "spanId": self.span,
                            "name": self.name,
                            "kind": 2,
                            "startTimeUnixNano": str(self.start_ns),
                            "endTimeUnixNano": str(self.start_ns + 1000),
                            "status": {},
                        }
                    ]
                }
            ],
        }

    def legacy(self) -> dict[str, Any]:
        return {
            "traceID": self.trace,
            "spanID": self.span,
            "operationName": self.name,
            "startTime": self.start_ns // 1000,
            "duration": 1,
            "processID": self.service,
        }


@dataclass
class Store:
    spans: list[Span] = field(default_factory=list)
    max_traces: int = 100_000
    api: Api = "v3"
    """``camel``: parameters in camelCase alone; ``page``: no API, a web page for every path."""
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    """Path and parameters of each request."""
    hidden: set[str] = field(default_factory=set)
    """Traces that searches lack, and that are found by id."""
    faults: list[Fault] = field(default_factory=list)
    """What the next searches do, instead of answering."""
    ailing: list[Ailing] = field(default_factory=list)
    """The same of the next questions for services: ``stall`` answers nothing at all."""

    looked_by_id: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a trace was asked for by its id."""

    def add(self, *spans: Span) -> None:
        self.spans.extend(spans)

    def traces(self) -> dict[str, list[Span]]:
        found: dict[str, list[Span]] = {}
        for span in self.spans:
            found.setdefault(span.trace, []).append(span)
        return found

    def searched(self) -> list[dict[str, str]]:
        return [query for path, query in self.asked if path == SEARCH]

    def by_id(self) -> list[str]:
        return [path.rsplit("/", 1)[1] for path, _ in self.asked if path.startswith(SEARCH + "/")]

    def find(self, service: str, low: int, high: int, depth: int) -> list[list[Span]]:
        return [
            spans
            for trace, spans in reversed(self.traces().items())
            if trace not in self.hidden
            and any(s.service == service and low <= s.start_ns <= high for s in spans)
        ][:depth]


def _ns(text: str) -> int:
    whole, _, fraction = text.removesuffix("Z").partition(".")
    seconds = int(datetime.fromisoformat(whole + "+00:00").timestamp())
    return seconds * SECOND_NS + int(fraction.ljust(9, "0") or 0)


def _v3(found: list[list[Span]]) -> web.Response:
    if not found:
        error = {"error": {"httpCode": 404, "message": "No traces found"}}
        return web.Response(status=404, text=json.dumps(error))
    groups = [span.otlp() for spans in found for span in spans]
    # As text, as the real one does.
    return web.Response(text=json.dumps({"result": {"resourceSpans": groups}}))


def _legacy(found: list[list[Span]]) -> web.Response:
    data = [
        {
            "traceID": spans[0].trace,
            "spans": [span.legacy() for span in spans],
            "processes": {span.service: {"serviceName": span.service} for span in spans},
        }
        for spans in found
    ]
    return web.json_response({"data": data, "errors": None})


def application(store: Store) -> web.Application:
    async def answer(request: web.Request) -> web.StreamResponse:
        query = dict(request.query)
        store.asked.append((request.path, query))
        spoken = {"v3": "v3", "camel": "v3", "legacy": "legacy"}.get(store.api)
        path = request.path.removeprefix("/base")
        services = sorted({span.service for span in store.spans})
        if path == "/api/v3/services" and store.ailing:
            return await _ail(store.ailing.pop(0))
        if spoken == "v3" and path == "/api/v3/services":
            return web.Response(text=json.dumps({"services": services} if services else {}))
        if spoken == "legacy" and path == "/api/services":
            return web.json_response({"data": services or None, "errors": None})
        if path == (SEARCH if spoken == "v3" else "/api/traces"):
            return _search(store, request, query, spoken or "")
        if path.startswith(SEARCH + "/"):
            store.looked_by_id.set()
        if spoken == "v3" and path.startswith(SEARCH + "/"):
            spans = store.traces().get(path.rsplit("/", 1)[1])
            return _v3([spans] if spans else [])
        if spoken == "legacy" and path.startswith("/api/traces/"):
            spans = store.traces().get(path.rsplit("/", 1)[1])
            return _legacy([spans]) if spans else web.json_response({"data": None}, status=404)
        # Jaeger's pages answer every path that is no other's.
        return web.Response(text="<!doctype html><title>pages</title>", content_type="text/html")

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    return app


async def _ail(how: Ailing) -> web.Response:
    if how == "stall":
        await asyncio.Event().wait()
    error = {"error": {"httpCode": 500, "message": "storage is out of order"}}
    return web.Response(status=500, text=json.dumps(error))


def _search(
    store: Store, request: web.Request, query: dict[str, str], spoken: str
) -> web.StreamResponse:
    match store.faults.pop(0) if store.faults else None:
        case "junk":
            return web.Response(text='{"result": {"resourceSpans": [{"scopeSpans": 7')
        case "empty":
            return web.Response(text='{"result": {}}')
        case "500":
            error = {"error": {"httpCode": 500, "message": "storage is out of order"}}
            return web.Response(status=500, text=json.dumps(error))
        case "reset":
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
    if spoken == "legacy":
        service, depth = query["service"], int(query["limit"])
        low, high = int(query["start"]) * 1000, int(query["end"]) * 1000
    else:
        names = ("serviceName", "startTimeMin", "startTimeMax", "searchDepth")
        if store.api == "v3":
            names = ("service_name", "start_time_min", "start_time_max", "num_traces")
        service = query[f"query.{names[0]}"]
        low, high = _ns(query[f"query.{names[1]}"]), _ns(query[f"query.{names[2]}"])
        depth = int(query[f"query.{names[3]}"])
    if not 0 < depth <= store.max_traces:
        text = "search depth must be greater than 0 and less than max traces"
        error = {"error": {"httpCode": 500, "message": text}}
        return web.Response(status=500, text=json.dumps(error))
    found = store.find(service, low, high, depth)
    return _v3(found) if spoken == "v3" else _legacy(found)


@asynccontextmanager
async def serving(store: Store) -> AsyncIterator[str]:
    """Its URL, while the block runs."""
    runner = web.AppRunner(application(store), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        assert runner.addresses
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@contextmanager
def beside(store: Store) -> Iterator[str]:
    """The same from a thread, for code that has an event loop of its own, or a process."""
    ready, stop = threading.Event(), asyncio.Event()
    found: list[str] = []
    loop = asyncio.new_event_loop()

    async def live() -> None:
        async with serving(store) as url:
            found.append(url)
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(live()))
    thread.start()
    try:
        assert ready.wait(10)
        yield found[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()


def trace(number: int) -> str:
    return f"{number:032x}"


def shop(count: int, first_ns: int, *, step_ns: int = SECOND_NS // 10) -> list[Span]:
    """``count`` traces of three spans each: a gateway asks an order twice; the second span of the
    gateway begins 30 ms after the first."""
    return [
        Span(trace(i + 1), f"{i * 3 + part + 1:016x}", service, first_ns + i * step_ns + later)
        for i in range(count)
        for part, (service, later) in enumerate(
            (("gateway", 0), ("gateway", 30_000_000), ("order", 31_000_000))
        )
    ]
