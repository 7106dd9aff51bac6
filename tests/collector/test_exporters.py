"""Ordinary OTLP exporters, and clients that send what they should not."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

import grpc
import orjson
import pytest
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import (
    OTLPMetricExporter as GrpcMetrics,
)
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpans
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import (
    OTLPMetricExporter as HttpMetrics,
)
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExporter, PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter

from hopbench.collector.spool import read_spool
from tests.collector.conftest import Running

SPANS: dict[str, Callable[[Running], SpanExporter]] = {
    "grpc": lambda c: GrpcSpans(endpoint=f"http://127.0.0.1:{c.grpc_port}", insecure=True),
    "grpc gzip": lambda c: GrpcSpans(
        endpoint=f"http://127.0.0.1:{c.grpc_port}",
        insecure=True,
        compression=grpc.Compression.Gzip,
    ),
    "http": lambda c: HttpSpans(endpoint=c.url("/v1/traces")),
    "http gzip": lambda c: HttpSpans(endpoint=c.url("/v1/traces"), compression=Compression.Gzip),
}
METRICS: dict[str, Callable[[Running], MetricExporter]] = {
    "grpc": lambda c: GrpcMetrics(endpoint=f"http://127.0.0.1:{c.grpc_port}", insecure=True),
    "http": lambda c: HttpMetrics(endpoint=c.url("/v1/metrics")),
}


@pytest.mark.parametrize("way", SPANS)
def test_spans_of_the_ordinary_exporter_arrive_whole(collector: Running, way: str) -> None:
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(SPANS[way](collector)))
    tracer = provider.get_tracer("test")
    for _ in range(30):
        with tracer.start_as_current_span("outer"), tracer.start_as_current_span("inner"):
            pass
    provider.shutdown()
    assert collector.counts()["spans"] == 60
    kept = [
        span.name
        for record in read_spool(collector.out / "traces.otlp")
        for resource in ExportTraceServiceRequest.FromString(record).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    assert sorted(kept) == ["inner"] * 30 + ["outer"] * 30


@pytest.mark.parametrize("way", METRICS)
def test_metrics_of_the_ordinary_exporter_are_counted_by_points(
    collector: Running, way: str
) -> None:
    reader = PeriodicExportingMetricReader(METRICS[way](collector))
    provider = MeterProvider(metric_readers=[reader])
    counter = provider.get_meter("test").create_counter("calls")
    for place in ("a", "b", "c"):
        counter.add(1, {"place": place})
    provider.force_flush()
    points = collector.counts()["metric_points"]
    provider.shutdown()
    assert points >= 3
    assert (collector.out / "metrics.otlp").stat().st_size > 0


def post(collector: Running, body: bytes, **headers: str) -> tuple[int, str, bytes]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = Request(collector.url("/v1/traces"), data=body, headers=named)
    try:
        with build_opener(ProxyHandler({})).open(request) as answer:
            return answer.status, answer.headers.get_content_type(), answer.read()
    except HTTPError as error:
        with error:
            return error.code, error.headers.get_content_type(), error.read()


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"x", {"Content_Type": "text/plain"}, 415),
        (b"x", {"Content_Type": "application/json", "Content_Encoding": "br"}, 415),
        (b"\xff\xff", {"Content_Type": "application/x-protobuf"}, 400),
        (b"{", {"Content_Type": "application/json"}, 400),
        (b"plain", {"Content_Type": "application/json", "Content_Encoding": "gzip"}, 400),
        (
            gzip.compress(bytes(65 * 1024 * 1024)),
            {"Content_Type": "application/x-protobuf", "Content_Encoding": "gzip"},
            413,
        ),
    ],
)
def test_junk_is_refused_and_nothing_of_it_is_kept(
    collector: Running, body: bytes, headers: dict[str, str], status: int
) -> None:
    assert post(collector, body, **headers)[0] == status
    assert collector.counts()["requests"] == 0
    collector.process.terminate()
    assert collector.process.wait() == 0
    assert collector.process.stderr is not None
    assert collector.process.stderr.read() == b""


def test_the_answer_is_in_the_encoding_of_the_request(collector: Running) -> None:
    status, kind, body = post(collector, b"", Content_Type="application/x-protobuf")
    assert (status, kind, body) == (200, "application/x-protobuf", b"")
    document = {"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "00", "spanId": "00"}]}]}]}
    packed = gzip.compress(orjson.dumps(document))
    status, kind, body = post(
        collector, packed, Content_Type="application/json", Content_Encoding="gzip"
    )
    assert (status, kind) == (200, "application/json")
    assert orjson.loads(body)["partialSuccess"]["rejectedSpans"] == "1"


def test_a_grpc_client_that_sends_junk_gets_invalid_argument(collector: Running) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{collector.grpc_port}") as channel:
        export = channel.unary_unary(
            "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            request_serializer=None,
            response_deserializer=ExportTraceServiceResponse.FromString,
        )
        with pytest.raises(grpc.RpcError) as raised:
            export(b"\xff\xff", timeout=10)
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
