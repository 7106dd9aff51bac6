"""The official instrumentations behind the same port: the same call tree, by other hands.

One round of a small shop over real HTTP and gRPC connections; Kafka's hops are handed over in this
process, for both instrumentations open their spans in the telemetry itself.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans as official_bytes
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from services import transports
from services.clock import WallClock
from services.ports import Address, Incoming, Outgoing, Reply, Status, TraceContext, Transport, Wire
from services.telemetry import instrumentations, official
from services.telemetry.encode import encode_spans
from services.telemetry.lean import LeanTelemetry
from services.telemetry.records import CLIENT, CONSUMER, PRODUCER, SERVER
from services.transports.site import Counters, Hooks, Site
from tests.telemetry.build import (
    ASKED,
    CAME,
    GRPC,
    HTTP,
    PUBLISHED,
    SHOP,
    WIRES,
    incoming,
    outgoing,
    said_by,
    spans_of,
)

SERVICES = ("order", *(wire.callee for wire in WIRES))
OK = Status.OK


@dataclass(slots=True)
class Place:
    """One service: its telemetry, and where its spans end up."""

    telemetry: LeanTelemetry
    hooks: Hooks
    provider: TracerProvider | None = None
    exporter: InMemorySpanExporter | None = None

    def spans(self) -> list[Span]:
        if self.exporter is None or self.provider is None:
            return spans_of(encode_spans(SHOP, self.telemetry.records, {}, 0))
        self.provider.force_flush()
        return spans_of(official_bytes(self.exporter.get_finished_spans()).SerializeToString())


def lean_place(service: str) -> Place:
    return Place(LeanTelemetry(SHOP, service, 0, WallClock()), Hooks())


def official_place(service: str) -> Place:
    exporter = InMemorySpanExporter()
    provider, _, _ = official.tracer_provider({"service.name": service}, exporter)
    telemetry = official.OfficialTelemetry(SHOP, service, 0, WallClock(), provider)
    return Place(telemetry, instrumentations.hooks(provider), provider, exporter)


PLACES = {"lean": lean_place, "official": official_place}


@dataclass(slots=True)
class Shop:
    places: dict[str, Place]
    clients: dict[str, Transport] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    handled: asyncio.Event = field(default_factory=asyncio.Event)
    hang: bool = False

    async def serve(self, request: Incoming) -> Reply:
        """What every callee does; a first attempt at a price fails."""
        telemetry = self.places[request.service].telemetry
        scope = telemetry.server_begin(request)
        failed = request.service == GRPC.callee and request.attempt == 0
        reply = Reply(Status.ERROR, 0, "no price") if failed else Reply(OK, request.response_bytes)
        try:
            if self.hang:
                self.handled.set()
                reply = Reply(Status.CANCELLED, 0)
                await asyncio.Event().wait()
        finally:
            telemetry.server_end(scope, reply)
        return reply

    async def attempt(
        self, wire: Wire, parent: TraceContext, *, fanout: bool = False, **changes: Any
    ) -> Reply:
        telemetry = self.places["order"].telemetry
        attempt = telemetry.attempt_begin(wire, parent, fanout=fanout)
        out = outgoing(wire, replica=0, trace=attempt.trace, **changes)
        reply = Reply(Status.CANCELLED, 0)
        try:
            reply = await self._send(out)
        finally:
            telemetry.attempt_end(attempt, out, 1, reply)
        return reply

    async def _send(self, out: Outgoing) -> Reply:
        if out.wire.protocol == "kafka":
            message = incoming(out.wire, trace=out.trace, key=out.key)
            # Another process's task would not have this one's context.
            return await asyncio.create_task(self.serve(message))
        return await self.clients[out.wire.protocol].call(out)

    async def create(self, request: Incoming) -> Reply:
        """Two reservations at once, a price at the second try, a posting and an event."""
        telemetry = self.places["order"].telemetry
        scope = telemetry.server_begin(request)
        fanout = telemetry.fanout_begin(scope, scope.trace)
        await asyncio.gather(
            self.attempt(HTTP, fanout.trace, fanout=True, key="17"),
            self.attempt(HTTP, fanout.trace, fanout=True, key="18"),
        )
        fanout.calls = 2
        telemetry.fanout_end(scope, fanout)
        for attempt in (0, 1):
            await self.attempt(GRPC, scope.trace, attempt=attempt, key="5")
        await self.attempt(ASKED, scope.trace)
        await self.attempt(PUBLISHED, scope.trace, key="17")
        reply = Reply(OK, 10)
        telemetry.server_end(scope, reply)
        return reply

    async def enter(self, trace: TraceContext) -> None:
        flags = "01" if trace.sampled else "00"
        headers = {"traceparent": f"00-{trace.trace_id:032x}-{trace.span_id:016x}-{flags}"}
        url = f"http://127.0.0.1:{self.ports['order']}/create"
        async with aiohttp.ClientSession() as session, session.post(url, headers=headers) as answer:
            assert answer.status == 200

    def spans(self) -> list[tuple[str, Span]]:
        return [(name, span) for name, place in self.places.items() for span in place.spans()]


@asynccontextmanager
async def opened(instrumentation: str) -> AsyncIterator[Shop]:
    shop = Shop({name: PLACES[instrumentation](name) for name in SERVICES})

    def site(service: str) -> Site:
        return Site(service, 0, 1, SHOP, Counters(), hooks=shop.places[service].hooks)

    async with AsyncExitStack() as stack:
        for service, protocol in (("order", "http"), ("inventory", "http"), ("price-book", "grpc")):
            handler = shop.create if service == "order" else shop.serve
            listener = transports.listener(protocol, site(service))  # type: ignore[arg-type]
            shop.ports[service] = await listener.start(handler) or 0
            stack.push_async_callback(listener.stop, 10**9)
        for wire in (HTTP, GRPC):
            client = transports.client(wire.protocol, site("order"))
            port = shop.ports[wire.callee]
            await client.connect({wire.callee: (Address("127.0.0.1", port, port),)})
            shop.clients[wire.protocol] = client
            stack.push_async_callback(client.close)
        yield shop


def trade(instrumentation: str, *, sampled: bool = True) -> list[tuple[str, Span]]:
    async def main() -> list[tuple[str, Span]]:
        async with opened(instrumentation) as shop:
            await shop.enter(TraceContext(CAME.trace_id, CAME.trace_id & (1 << 64) - 1, sampled))
            return shop.spans()

    return asyncio.run(main())


def protocol_of(said: dict[str, Any]) -> str:
    if "messaging.system" in said:
        return "kafka"
    return "grpc" if "rpc.system" in said or "rpc.system.name" in said else "http"


def call_tree(spans: list[tuple[str, Span]]) -> Counter[tuple[str, str, str]]:
    """(caller, callee, protocol) → calls, from handled requests to the nearest one above."""
    by_id = {span.span_id: (service, span) for service, span in spans}
    found: Counter[tuple[str, str, str]] = Counter()
    for service, span in spans:
        if span.kind not in (SERVER, CONSUMER):
            continue
        above = by_id.get(span.parent_span_id)
        while above is not None and above[1].kind not in (SERVER, CONSUMER):
            above = by_id.get(above[1].parent_span_id)
        found[above[0] if above else "", service, protocol_of(said_by(span.attributes))] += 1
    return found


EXPECTED = {
    ("", "order", "http"): 1,
    ("order", "inventory", "http"): 2,
    ("order", "price-book", "grpc"): 2,
    ("order", "ledger", "kafka"): 1,
    ("order", "audit", "kafka"): 1,
}


@pytest.mark.parametrize("instrumentation", PLACES)
def test_the_call_tree_is_the_same_under_both(instrumentation: str) -> None:
    spans = trade(instrumentation)
    assert call_tree(spans) == EXPECTED
    assert {span.trace_id for _, span in spans} == {CAME.trace_id.to_bytes(16, "big")}


@pytest.mark.parametrize("instrumentation", PLACES)
def test_nothing_is_recorded_of_an_unsampled_request(instrumentation: str) -> None:
    assert trade(instrumentation, sampled=False) == []


@pytest.mark.parametrize("instrumentation", PLACES)
def test_the_root_is_a_child_of_the_last_half_of_its_trace_id(instrumentation: str) -> None:
    (root,) = (span for service, span in trade(instrumentation) if service == "order"
               and span.kind == SERVER)  # fmt: skip
    assert root.parent_span_id == root.trace_id[8:]


@pytest.mark.parametrize("instrumentation", PLACES)
def test_keys_items_and_attempts_are_on_the_calling_spans(instrumentation: str) -> None:
    said = [
        (span, said_by(span.attributes))
        for service, span in trade(instrumentation)
        if service == "order" and span.kind in (CLIENT, PRODUCER)
    ]
    keys = sorted(str(of["hopbench.key"]) for _, of in said if "hopbench.key" in of)
    assert keys == ["17", "17", "18", "5", "5"]
    assert all(of["hopbench.items"] == 1 for _, of in said)
    numbered = [of["hopbench.attempt"] for _, of in said if "hopbench.attempt" in of]
    assert numbered == [1]
    failed = [span for span, _ in said if span.status.code == 2]
    assert len(failed) == 1


@pytest.mark.parametrize("instrumentation", PLACES)
def test_sizes_are_on_the_calling_spans(instrumentation: str) -> None:
    sizes = set()
    for service, span in trade(instrumentation):
        said = said_by(span.attributes)
        if service == "order" and span.kind == CLIENT and span.status.code != 2:
            sent = said.get("http.request.body.size", said.get("hopbench.request_bytes"))
            got = said.get("http.response.body.size", said.get("hopbench.response_bytes"))
            sizes.add((sent, got))
    assert sizes == {(100, 200)}


@pytest.mark.parametrize("instrumentation", PLACES)
def test_a_fan_out_and_its_calls_have_their_spans(instrumentation: str) -> None:
    spans = [span for service, span in trade(instrumentation) if service == "order"]
    (fanout,) = (span for span in spans if span.name == "fanout.parallel")
    assert said_by(fanout.attributes) == {"fanout.call_count": 2, "fanout.failures": 0}
    calls = [span for span in spans if span.name == "call.inventory.reserve"]
    assert [span.parent_span_id for span in calls] == [fanout.span_id] * 2
    assert all(said_by(span.attributes)["target.service"] == "inventory" for span in calls)


@pytest.mark.parametrize("instrumentation", PLACES)
def test_a_consumer_is_the_child_of_its_producer_and_linked_to_it(instrumentation: str) -> None:
    spans = [span for _, span in trade(instrumentation)]
    (producer,) = (span for span in spans if span.kind == PRODUCER)
    (consumer,) = (span for span in spans if span.kind == CONSUMER)
    assert consumer.parent_span_id == producer.span_id
    assert [link.span_id for link in consumer.links] == [producer.span_id]


@pytest.mark.parametrize("instrumentation", PLACES)
@pytest.mark.parametrize("wire", [HTTP, GRPC, ASKED], ids=lambda wire: wire.protocol)
def test_a_call_that_is_cancelled_leaves_both_its_spans_failed(
    instrumentation: str, wire: Wire
) -> None:
    async def main() -> list[tuple[str, Span]]:
        async with opened(instrumentation) as shop:
            shop.hang = True
            call = asyncio.create_task(shop.attempt(wire, CAME, attempt=1))
            await shop.handled.wait()
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            async with asyncio.timeout(10):
                while not any(span.kind == SERVER for _, span in shop.spans()):  # noqa: ASYNC110
                    await asyncio.sleep(0.005)
            return shop.spans()

    spans = asyncio.run(main())
    assert sorted((span.kind, span.status.code) for _, span in spans) == [(SERVER, 2), (CLIENT, 2)]


def test_records_of_the_official_telemetry_see_every_hop_for_the_metrics() -> None:
    async def main() -> Counter[int]:
        async with opened("official") as shop:
            await shop.enter(TraceContext(CAME.trace_id, 1, False))
            return Counter(
                record[0] for place in shop.places.values() for record in place.telemetry.records
            )

    found = asyncio.run(main())
    assert [found[kind] for kind in (SERVER, CLIENT, PRODUCER, CONSUMER)] == [6, 5, 1, 1]
