"""The official instrumentations behind the same port: the same call tree, by other hands.

One request of a small shop over real HTTP and gRPC connections and the embedded broker.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import aiohttp
import pytest
from aiokafka import AIOKafkaProducer
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans as official_bytes
from opentelemetry.instrumentation.aiokafka import AIOKafkaInstrumentor
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from analysis.reading.inputs import read
from analysis.spans.table import SpanTable
from analysis.traces.critical_path import PRESETS, critical_path
from analysis.traces.pairs import complete_traces, pair
from services import transports
from services.clocks.wall import WallClock
from services.scenario.model import Protocol
from services.telemetry.encoding import encode_spans
from services.telemetry.lean import LeanTelemetry
from services.telemetry.official import hooks as instrumentations
from services.telemetry.official import telemetry as official
from services.telemetry.records import CLIENT, CONSUMER, PRODUCER, SERVER
from services.transports.site import Broker, Counters, Hooks, Site
from services.wire.ports import Address, Incoming, Reply, Status, TraceContext, Transport, Wire
from tests.telemetry.build import (
    ASKED,
    CAME,
    GRPC,
    HTTP,
    PUBLISHED,
    SHOP,
    WIRES,
    outgoing,
    said_by,
    spans_of,
)
from tests.transports.conftest import BrokerProcess

T = TypeVar("T")

STEPS = (" send", " receive")
"""How the names of what the instrumentation of Kafka adds end."""
SERVICES = ("order", *(wire.callee for wire in WIRES))
OK = Status.OK


@dataclass(slots=True)
class Place:
    """One service: its telemetry, and where its spans end up."""

    telemetry: LeanTelemetry
    hooks: Hooks
    provider: TracerProvider | None = None
    exporter: InMemorySpanExporter | None = None

    def exported(self) -> bytes:
        if self.exporter is None or self.provider is None:
            resource = {"service.name": self.telemetry.service}
            return encode_spans(SHOP, self.telemetry.records, resource, 0)
        self.provider.force_flush()
        return official_bytes(self.exporter.get_finished_spans()).SerializeToString()


def lean_place(service: str) -> Place:
    return Place(LeanTelemetry(SHOP, service, 0, WallClock()), Hooks())


def official_place(service: str) -> Place:
    exporter = InMemorySpanExporter()
    provider, _ = official.tracer_provider({"service.name": service}, exporter)
    telemetry = official.OfficialTelemetry(
        SHOP, service, 0, WallClock(), provider, offset_ns=time.time_ns() - time.monotonic_ns()
    )
    return Place(telemetry, instrumentations.hooks(provider), provider, exporter)


PLACES = {"lean": lean_place, "official": official_place}


@dataclass(slots=True)
class Shop:
    places: dict[str, Place]
    clients: dict[str, Transport] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    handled: asyncio.Event = field(default_factory=asyncio.Event)
    published: asyncio.Event = field(default_factory=asyncio.Event)
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
        if request.service == PUBLISHED.callee:
            self.published.set()
        return reply

    async def attempt(
        self, wire: Wire, parent: TraceContext, *, fanout: bool = False, **changes: Any
    ) -> Reply:
        telemetry = self.places["order"].telemetry
        attempt = telemetry.attempt_begin(wire, parent, fanout=fanout)
        out = outgoing(wire, replica=0, trace=attempt.trace, **changes)
        reply = Reply(Status.CANCELLED, 0)
        client = self.clients[wire.protocol]
        try:
            reply = await (client.publish if wire.mode == "publish" else client.call)(out)
        finally:
            telemetry.attempt_end(attempt, out, 1, reply)
        return reply

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
        await self.published.wait()

    def exported(self) -> dict[str, bytes]:
        """By service."""
        return {name: place.exported() for name, place in self.places.items()}

    def spans(self) -> list[tuple[str, Span]]:
        return spans_in(self.exported())


def is_step(span: Span) -> bool:
    return span.name.endswith(STEPS)


def spans_in(exported: dict[str, bytes]) -> list[tuple[str, Span]]:
    return [(name, span) for name, request in exported.items() for span in spans_of(request)]


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    process = BrokerProcess()
    yield process.broker
    process.close()


@asynccontextmanager
async def opened(instrumentation: str, broker: Broker) -> AsyncIterator[Shop]:
    round = uuid4().hex
    shop = Shop({name: PLACES[instrumentation](name) for name in SERVICES})

    def site(service: str) -> Site:
        hooks = shop.places[service].hooks
        return Site(service, 0, 1, SHOP, Counters(), broker=broker, round=round, hooks=hooks)

    async with AsyncExitStack() as stack:
        served: dict[str, Protocol] = {
            "order": "http",
            "inventory": "http",
            "price-book": "grpc",
            "ledger": "kafka",
            "audit": "kafka",
        }
        for service, protocol in served.items():
            handler = shop.create if service == "order" else shop.serve
            listener = transports.listener(protocol, site(service))
            shop.ports[service] = await listener.start(handler) or 0
            stack.push_async_callback(listener.stop, 10**9)
        directory = {
            service: (Address("127.0.0.1", {"http": port, "grpc": port}),)
            for service, port in shop.ports.items()
        }
        for wire in (HTTP, GRPC, ASKED):
            client = transports.client(wire.protocol, site("order"))
            await client.connect(directory)
            shop.clients[wire.protocol] = client
            stack.push_async_callback(client.close)
        yield shop


def bounded(main: Callable[[], Awaitable[T]]) -> T:
    async def within() -> T:
        async with asyncio.timeout(30):
            return await main()

    return asyncio.run(within())


def trade(instrumentation: str, broker: Broker, *, sampled: bool = True) -> dict[str, bytes]:
    """What the services exported of one request."""

    async def main() -> dict[str, bytes]:
        async with opened(instrumentation, broker) as shop:
            await shop.enter(TraceContext(CAME.trace_id, CAME.trace_id & (1 << 64) - 1, sampled))
            return shop.exported()

    return bounded(main)


Traded = dict[str, dict[str, bytes]]


@pytest.fixture(scope="module")
def traded(broker: Broker) -> Traded:
    """By instrumentation."""
    return {instrumentation: trade(instrumentation, broker) for instrumentation in PLACES}


def table_of(exported: dict[str, bytes], directory: Path) -> SpanTable:
    for service, request in exported.items():
        (directory / f"{service}.otlp").write_bytes(request)
    return read([directory]).spans


EXPECTED = {
    ("order", "inventory", "http"): 2,
    ("order", "price-book", "grpc"): 2,
    ("order", "ledger", "kafka"): 1,
    ("order", "audit", "kafka"): 1,
}


@pytest.mark.parametrize("instrumentation", PLACES)
def test_the_call_tree_is_the_same_under_both(
    instrumentation: str, traded: Traded, tmp_path: Path
) -> None:
    spans = table_of(traded[instrumentation], tmp_path)
    hops, calls = pair(spans)
    places = [hops.places[int(place)] for place in hops.place]
    assert Counter((p.caller, p.callee, p.protocol) for p in places) == EXPECTED
    assert len(calls) == 5
    assert complete_traces(spans, hops, both_ends=True).tolist() == [True]
    assert (critical_path(spans, PRESETS["reference"]).is_root & (spans.parent < 0)).sum() == 1


def test_the_official_instrumentation_of_kafka_adds_its_steps(traded: Traded) -> None:
    names = {
        instrumentation: Counter(span.name for _, span in spans_in(exported))
        for instrumentation, exported in traded.items()
    }
    added = names["official"] - names["lean"]
    assert {name: added[name] for name in added if name.endswith(STEPS)} == {
        "ledger.post send": 1,
        "ledger.post receive": 1,
        "audit.log send": 1,
        "audit.log receive": 1,
    }
    steps = [
        (span.kind, span.trace_id.hex())
        for _, span in spans_in(traded["official"])
        if is_step(span)
    ]
    assert sorted(steps) == [(kind, f"{CAME.trace_id:032x}") for kind in (4, 4, 5, 5)]


def test_code_that_instruments_kafka_itself_keeps_that_and_a_hop_is_not_traced_by_it_too(
    broker: Broker, traded: Traded
) -> None:
    theirs, seen = TracerProvider(), InMemorySpanExporter()
    theirs.add_span_processor(SimpleSpanProcessor(seen))
    instrumentor = AIOKafkaInstrumentor()
    instrumentor.instrument(tracer_provider=theirs)
    patched = vars(AIOKafkaProducer)["send"]
    try:
        names = Counter(span.name for _, span in spans_in(trade("official", broker)))
        assert instrumentor.is_instrumented_by_opentelemetry
        assert vars(AIOKafkaProducer)["send"] is patched
    finally:
        instrumentor.uninstrument()
    assert names == Counter(span.name for _, span in spans_in(traded["official"]))
    assert not {span.name for span in seen.get_finished_spans()} & set(names)


@pytest.mark.parametrize("instrumentation", PLACES)
def test_a_message_of_others_whose_trace_context_is_no_text_does_no_harm(
    instrumentation: str, broker: Broker
) -> None:
    async def main() -> list[tuple[str, Span]]:
        async with opened(instrumentation, broker) as shop:
            producer = AIOKafkaProducer(bootstrap_servers=broker.address)
            await producer.start()
            for partition in await producer.partitions_for("audit.log"):
                await producer.send_and_wait(
                    "audit.log", b"", partition=partition, headers=[("traceparent", b"\xff")]
                )
            await producer.stop()
            await shop.enter(CAME)
            return shop.spans()

    assert [span.name for _, span in bounded(main)].count("process audit.log") == 1


@pytest.mark.parametrize("instrumentation", PLACES)
def test_nothing_is_recorded_of_an_unsampled_request(instrumentation: str, broker: Broker) -> None:
    assert spans_in(trade(instrumentation, broker, sampled=False)) == []


@pytest.mark.parametrize("instrumentation", PLACES)
def test_the_root_is_a_child_of_the_last_half_of_its_trace_id(
    instrumentation: str, traded: Traded
) -> None:
    (root,) = (span for service, span in spans_in(traded[instrumentation]) if service == "order"
               and span.kind == SERVER)  # fmt: skip
    assert root.parent_span_id == root.trace_id[8:]


@pytest.mark.parametrize("instrumentation", PLACES)
def test_keys_items_and_attempts_are_on_the_calling_spans(
    instrumentation: str, traded: Traded
) -> None:
    said = [
        (span, said_by(span.attributes))
        for service, span in spans_in(traded[instrumentation])
        if service == "order" and span.kind in (CLIENT, PRODUCER) and not is_step(span)
    ]
    keys = sorted(str(of["hopbench.key"]) for _, of in said if "hopbench.key" in of)
    assert keys == ["17", "17", "18", "5", "5"]
    assert all(of["hopbench.items"] == 1 for _, of in said)
    numbered = [of["hopbench.attempt"] for _, of in said if "hopbench.attempt" in of]
    assert numbered == [1]
    failed = [span for span, _ in said if span.status.code == 2]
    assert len(failed) == 1


@pytest.mark.parametrize("instrumentation", PLACES)
def test_sizes_are_on_the_calling_spans(instrumentation: str, traded: Traded) -> None:
    sizes = set()
    for service, span in spans_in(traded[instrumentation]):
        said = said_by(span.attributes)
        if service == "order" and span.kind == CLIENT and span.status.code != 2:
            sent = said.get("http.request.body.size", said.get("hopbench.request_bytes"))
            got = said.get("http.response.body.size", said.get("hopbench.response_bytes"))
            sizes.add((sent, got))
    assert sizes == {(100, 200)}


@pytest.mark.parametrize("instrumentation", PLACES)
def test_a_fan_out_and_its_calls_have_their_spans(instrumentation: str, traded: Traded) -> None:
    spans = [span for service, span in spans_in(traded[instrumentation]) if service == "order"]
    (fanout,) = (span for span in spans if span.name == "fanout.parallel")
    assert said_by(fanout.attributes) == {"fanout.call_count": 2, "fanout.failures": 0}
    calls = [span for span in spans if span.name == "call.inventory.reserve"]
    assert [span.parent_span_id for span in calls] == [fanout.span_id] * 2
    assert all(said_by(span.attributes)["target.service"] == "inventory" for span in calls)


@pytest.mark.parametrize("instrumentation", PLACES)
def test_a_consumer_is_the_child_of_its_producer_and_linked_to_it(
    instrumentation: str, traded: Traded
) -> None:
    spans = [span for _, span in spans_in(traded[instrumentation])]
    (producer,) = (span for span in spans if span.name == "send audit.log")
    (consumer,) = (span for span in spans if span.name == "process audit.log")
    assert (producer.kind, consumer.kind) == (PRODUCER, CONSUMER)
    assert consumer.parent_span_id == producer.span_id
    assert [link.span_id for link in consumer.links] == [producer.span_id]


@pytest.mark.parametrize("instrumentation", PLACES)
@pytest.mark.parametrize("wire", [HTTP, GRPC, ASKED], ids=lambda wire: wire.protocol)
def test_a_call_that_is_cancelled_leaves_both_its_spans_failed(
    instrumentation: str, wire: Wire, broker: Broker
) -> None:
    async def main() -> list[tuple[str, Span]]:
        async with opened(instrumentation, broker) as shop:
            shop.hang = True
            call = asyncio.create_task(shop.attempt(wire, CAME, attempt=1))
            await shop.handled.wait()
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
        # Over Kafka nobody tells the callee: it goes on until it is stopped.
        return shop.spans()

    kinds = (SERVER, CLIENT)
    spans = [span for _, span in bounded(main) if span.kind in kinds]
    assert sorted((span.kind, span.status.code) for span in spans) == [(SERVER, 2), (CLIENT, 2)]


def test_records_of_the_official_telemetry_see_every_hop_for_the_metrics(broker: Broker) -> None:
    async def main() -> Counter[int]:
        async with opened("official", broker) as shop:
            await shop.enter(TraceContext(CAME.trace_id, 1, False))
            return Counter(
                record[0] for place in shop.places.values() for record in place.telemetry.records
            )

    found = bounded(main)
    assert [found[kind] for kind in (SERVER, CLIENT, PRODUCER, CONSUMER)] == [6, 5, 1, 1]
