"""From records to a receiver: nothing lost, nothing hoarded, nobody kept waiting."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import pairwise
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from services.telemetry.lean import LeanTelemetry, NullTelemetry
from services.telemetry.pipeline import Pace, Pipeline, resource_attributes
from services.telemetry.sender import Request, Sender
from tests.telemetry.build import HTTP, SHOP, Ticks, calling, numbered, said_by, spans_of

RESOURCE = {"service.name": "order"}


@dataclass(slots=True)
class Receiver:
    """An OTLP/gRPC receiver that keeps what it is sent and answers as told."""

    traces: list[bytes] = field(default_factory=list)
    metrics: list[bytes] = field(default_factory=list)
    answer: bytes = b""
    failures: list[tuple[grpc.StatusCode, bytes]] = field(default_factory=list)
    """What it answers first: codes, and the details of the status."""
    endpoint: str = ""

    def sender(self, timeout_s: float = 10.0) -> Sender:
        """One that sends everything here."""
        return Sender(self.endpoint, self.endpoint, timeout_s=timeout_s)


@contextmanager
def receiving(answer: bytes = b"") -> Iterator[Receiver]:
    receiver = Receiver(answer=answer)

    def taking(kept: list[bytes]) -> Any:
        def export(request: bytes, context: Any) -> bytes:
            kept.append(request)
            if receiver.failures:
                code, details = receiver.failures.pop(0)
                context.set_trailing_metadata((("grpc-status-details-bin", details),))
                context.abort(code, "not now")
            return receiver.answer

        return grpc.unary_unary_rpc_method_handler(export)

    server = grpc.server(ThreadPoolExecutor(2), options=[("grpc.so_reuseport", 0)])
    for name, kept in (("trace", receiver.traces), ("metrics", receiver.metrics)):
        service = f"opentelemetry.proto.collector.{name}.v1.{name.capitalize()}Service"
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service, {"Export": taking(kept)}),)
        )
    port = server.add_insecure_port("127.0.0.1:0")
    receiver.endpoint = f"127.0.0.1:{port}"
    server.start()
    try:
        yield receiver
    finally:
        server.stop(0).wait()


def telemetry(kind: type[LeanTelemetry] = LeanTelemetry) -> LeanTelemetry:
    return kind(SHOP, "order", 0, Ticks(), numbered())


def records(count: int, *, sampled: bool = True) -> list[Any]:
    return [calling(HTTP, span=i + 1, sampled=sampled) for i in range(count)]


async def run(pipeline: Pipeline) -> bool:
    await pipeline.start()
    sent = await pipeline.flush()
    await pipeline.close()
    return sent


def test_every_sampled_span_arrives_once_and_metrics_see_all() -> None:
    seen = telemetry()
    seen.records += records(500) + records(70, sampled=False)
    with receiving() as receiver:
        sender = receiver.sender()
        pipeline = Pipeline(seen, sender, RESOURCE, offset_ns=0, pace=Pace(request_bytes=10_000))
        assert pipeline.spans_ended == 500
        assert asyncio.run(run(pipeline))
    ids = [span.span_id for request in receiver.traces for span in spans_of(request)]
    assert sorted(ids) == sorted((i + 1).to_bytes(8, "big") for i in range(500))
    assert pipeline.spans_ended == sender.exported["traces"] == 500
    assert sender.lost == {"traces": 0, "metrics": 0}
    (request,) = receiver.metrics
    (resource,) = ExportMetricsServiceRequest.FromString(request).resource_metrics
    assert said_by(resource.resource.attributes) == RESOURCE
    counts = {
        metric.name: metric.sum.data_points[0].as_int
        for metric in resource.scope_metrics[0].metrics
        if metric.HasField("sum")
    }
    assert counts["protocol.call.count"] == 570


def test_spans_leave_by_themselves_once_they_fill_a_request() -> None:
    seen = telemetry()
    with receiving() as receiver:

        async def main() -> None:
            sender = receiver.sender()
            pipeline = Pipeline(
                seen, sender, RESOURCE, pace=Pace(idle_s=0.001, request_bytes=5_000)
            )
            await pipeline.start()
            seen.records += records(100)
            async with asyncio.timeout(30):
                while sender.exported["traces"] < 50:  # noqa: ASYNC110  # another thread counts
                    await asyncio.sleep(0.001)
            await pipeline.close()

        asyncio.run(main())
    assert receiver.traces


def test_the_loop_gets_a_turn_between_two_slices() -> None:
    """While 1,000 records are derived 10 at a time, a neighbour runs at least 100 times."""
    seen = telemetry()
    turns: list[int] = []

    async def neighbour() -> None:
        while True:
            turns.append(len(seen.records))
            await asyncio.sleep(0)

    async def main() -> None:
        pipeline = Pipeline(
            seen, receiver.sender(), RESOURCE, pace=Pace(slice_records=10, idle_s=0.0)
        )
        await pipeline.start()
        task = asyncio.create_task(neighbour())
        seen.records += records(1000)
        while seen.records:  # noqa: ASYNC110  # turns are what is measured
            await asyncio.sleep(0)
        task.cancel()
        await pipeline.close()

    with receiving() as receiver:
        asyncio.run(main())
    steps = [before - after for before, after in pairwise(turns)]
    assert max(steps) == 10


def test_one_that_is_shared_touches_nothing_unasked() -> None:
    seen = telemetry()

    async def main() -> None:
        pipeline = Pipeline(seen, sender, RESOURCE, shared=True, pace=Pace(idle_s=0.0, busy_s=0.0))
        await pipeline.start()
        seen.records += records(100)
        for _ in range(50):
            await asyncio.sleep(0)
        assert len(seen.records) == 100
        await pipeline.flush()
        await pipeline.close()
        assert sender.exported["traces"] == 100

    with receiving() as receiver:
        sender = receiver.sender()
        asyncio.run(main())
        sender.close()


def test_with_tracing_off_metrics_go_out_alone() -> None:
    seen = telemetry(NullTelemetry)
    seen.records += records(3, sampled=False)
    with receiving() as receiver:
        pipeline = Pipeline(seen, receiver.sender(), RESOURCE, spans=False)
        assert asyncio.run(run(pipeline))
    assert (len(receiver.traces), len(receiver.metrics)) == (0, 1)
    assert pipeline.spans_ended == 0


def test_spans_that_a_receiver_refuses_are_counted_as_dropped() -> None:
    answer = ExportTraceServiceResponse()
    answer.partial_success.rejected_spans = 4
    seen = telemetry()
    seen.records += records(10)
    with receiving(answer.SerializeToString()) as receiver:
        sender = receiver.sender()
        asyncio.run(run(Pipeline(seen, sender, RESOURCE)))
    assert (sender.exported["traces"], sender.lost["traces"]) == (6, 4)


def test_a_dead_receiver_costs_the_spans_and_nothing_else() -> None:
    seen = telemetry()
    seen.records += records(20)
    sender = Sender("127.0.0.1:1", "127.0.0.1:1", timeout_s=0.2)
    pipeline = Pipeline(seen, sender, RESOURCE)
    assert asyncio.run(run(pipeline))
    assert pipeline.spans_ended == 20
    assert (sender.exported["traces"], sender.lost["traces"]) == (0, 20)


def test_what_waits_for_a_receiver_is_bounded_and_the_rest_is_counted() -> None:
    release = threading.Event()
    entered = threading.Event()

    def export(request: bytes, _context: Any) -> bytes:
        entered.set()
        release.wait(30)
        return b""

    server = grpc.server(ThreadPoolExecutor(1), options=[("grpc.so_reuseport", 0)])
    method = grpc.unary_unary_rpc_method_handler(export)
    service = "opentelemetry.proto.collector.trace.v1.TraceService"
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(service, {"Export": method}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    endpoint = f"127.0.0.1:{port}"
    sender = Sender(endpoint, endpoint, max_bytes=25)
    for _ in range(4):
        sender.send("traces", Request(b"x" * 10, 3))
    assert entered.wait(30)
    assert sender.lost["traces"] == 6
    assert not sender.drain(0.0)
    release.set()
    assert sender.drain(30)
    assert sender.exported["traces"] == 6
    sender.close()
    sender.send("traces", Request(b"x", 1))
    assert sender.lost["traces"] == 7
    server.stop(0).wait()


@pytest.mark.parametrize("instrumentation", ["lean", "official"])
def test_a_resource_says_which_replica_of_which_variant_speaks(instrumentation: str) -> None:
    said = resource_attributes("order", 2, "batched", instrumentation)
    assert said["service.name"] == "order"
    assert said["service.instance.id"] == "order/2"
    assert said["hopbench.variant"] == "batched"
    assert {"host.name", "process.pid"} <= said.keys()


def test_a_resource_names_the_sdk_that_made_the_spans() -> None:
    """Another SDK than the default one must not go by its name, nor by its version."""
    lean, official = (
        resource_attributes("order", 0, "baseline", name) for name in ("lean", "official")
    )
    assert (lean["telemetry.sdk.name"], official["telemetry.sdk.name"]) == (
        "hopbench",
        "opentelemetry",
    )
    assert official["telemetry.sdk.version"] == version("opentelemetry-sdk")
    assert lean["telemetry.sdk.version"] not in {
        version("opentelemetry-api"),
        version("opentelemetry-sdk"),
    }
