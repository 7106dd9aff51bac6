"""Anybody's application, its ordinary exporter, ``hopbench collect`` and ``hopbench analyze``."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpans
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import SpanKind

from hopbench.exits import Exit
from tests.faults.harness import Site

pytestmark = pytest.mark.slow

MS = 1_000_000
START_NS = 1_700_000_000_000_000_000
ITEMS = 7
TRACES = 30

EXPORTERS: dict[str, Callable[[dict[str, Any]], SpanExporter]] = {
    "gRPC": lambda at: GrpcSpans(endpoint=f"http://127.0.0.1:{at['grpc_port']}", insecure=True),
    "HTTP": lambda at: HttpSpans(endpoint=f"http://127.0.0.1:{at['http_port']}/v1/traces"),
}


@pytest.mark.parametrize("way", EXPORTERS)
def test_the_n_plus_one_of_an_application_that_is_not_ours_is_found(site: Site, way: str) -> None:
    bench = site.start(
        *("collect", "--out", "kept", "--grpc-port", 0, "--http-port", 0, "--json", "-")
    )
    at = bench.wait("ports", lambda: json.loads(bench.said() or "null"))
    shop, stock = (provider(service, EXPORTERS[way](at)) for service in ("shop", "stock"))
    for number in range(TRACES):
        page(shop, stock, START_NS + number * 1000 * MS)
    shop.shutdown()
    stock.shutdown()
    bench.signal(signal.SIGINT)
    ended = bench.end()
    assert ended.code == Exit.DONE
    assert f"kept {TRACES * (1 + 2 * ITEMS)} spans" in ended.err

    analysed = site.run("analyze", "kept", "--json", "-")
    assert analysed.code == Exit.DONE
    found = analysed.document
    assert found["input"]["traces"] == TRACES
    assert found["total_inter_service_calls"] == TRACES * ITEMS
    (finding,) = found["findings"]
    assert finding["kind"] == "chatty.sequential"
    assert (finding["where"]["caller"], finding["where"]["callee"]) == ("shop", "stock")
    assert finding["count_per_request"]["p50"] == ITEMS
    assert finding["refactor"]["op"] == "batch"
    assert "chatty.sequential" in analysed.err

    gated = site.run("analyze", "kept", "--fail-on", "findings.chatty > 0")
    assert gated.code == Exit.FAILED


def provider(service: str, exporter: SpanExporter) -> TracerProvider:
    found = TracerProvider(resource=Resource.create({"service.name": service}))
    found.add_span_processor(BatchSpanProcessor(exporter))
    return found


def page(shop: TracerProvider, stock: TracerProvider, start_ns: int) -> None:
    """One trace: a page that asks for each item on its own, 10 ms a call."""
    at_shop, at_stock = shop.get_tracer("shop"), stock.get_tracer("stock")
    root = at_shop.start_span("GET /cart", kind=SpanKind.SERVER, start_time=start_ns)
    now_ns = start_ns + MS
    for item in range(ITEMS):
        call = at_shop.start_span(
            "GET",
            context=trace.set_span_in_context(root),
            kind=SpanKind.CLIENT,
            start_time=now_ns,
            attributes={"http.request.method": "GET", "url.full": f"http://stock/item/{item}"},
        )
        served = at_stock.start_span(
            "GET /item/{id}",
            context=trace.set_span_in_context(call),
            kind=SpanKind.SERVER,
            start_time=now_ns + MS // 5,
            attributes={"http.request.method": "GET", "http.route": "/item/{id}"},
        )
        served.end(now_ns + 10 * MS - MS // 5)
        call.end(now_ns + 10 * MS)
        now_ns += 10 * MS
    root.end(now_ns + MS)
