"""The OpenTelemetry API over hop records: user code and other people's instrumentation."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from aiohttp import web
from opentelemetry import trace
from opentelemetry.instrumentation.aiohttp_client import create_trace_config
from opentelemetry.trace import (
    INVALID_SPAN,
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
)

from services.telemetry.encoding import SpanEncoder
from services.telemetry.lean import LeanTelemetry
from services.telemetry.protobuf import export_request
from services.telemetry.tracer import SlimTracerProvider
from services.wire.ports import Reply, Status, TraceContext
from tests.telemetry.build import (
    CAME,
    HTTP,
    OFFSET_NS,
    SHOP,
    TRACE,
    Ticks,
    incoming,
    numbered,
    outgoing,
    said_by,
    spans_of,
)

OK = Reply(Status.OK, 0)


@pytest.fixture
def seen() -> LeanTelemetry:
    return LeanTelemetry(SHOP, "inventory", 0, Ticks(), numbered())


def test_the_current_span_is_the_servers_then_the_attempts_then_nobodys(
    seen: LeanTelemetry,
) -> None:
    ids = []

    def look() -> None:
        ids.append(trace.get_current_span().get_span_context().span_id)

    scope = seen.server_begin(incoming())
    look()
    fanout = seen.fanout_begin(scope, scope.trace)
    look()
    attempt = seen.attempt_begin(HTTP, fanout.trace, fanout=True)
    look()
    seen.attempt_end(attempt, outgoing(), 1, OK)
    look()
    seen.fanout_end(scope, fanout)
    look()
    seen.server_end(scope, OK)
    assert ids == [1, 2, 3, 2, 1]
    assert trace.get_current_span() is INVALID_SPAN


def test_tasks_that_a_handler_starts_inherit_its_span(seen: LeanTelemetry) -> None:
    async def child() -> int:
        return trace.get_current_span().get_span_context().span_id

    async def handler() -> int:
        scope = seen.server_begin(incoming())
        found = await asyncio.create_task(child())
        seen.server_end(scope, OK)
        return found

    assert asyncio.run(handler()) == 1


def test_an_unsampled_request_shows_a_span_that_records_nothing(seen: LeanTelemetry) -> None:
    scope = seen.server_begin(incoming(trace=TraceContext(TRACE, 7, False)))
    span = trace.get_current_span()
    span.set_attribute("basket", 3)
    span.add_event("looked")
    assert not span.is_recording()
    assert not span.get_span_context().trace_flags.sampled
    child = SlimTracerProvider(seen).get_tracer("shop").start_span("inner")
    assert isinstance(child, NonRecordingSpan)
    seen.server_end(scope, OK)
    assert (seen.notes, seen.spans) == ({}, [])


def test_spans_of_user_code_are_children_of_the_hop_and_go_out_whole(seen: LeanTelemetry) -> None:
    tracer = SlimTracerProvider(seen).get_tracer("shop")
    scope = seen.server_begin(incoming())
    other = SpanContext(5, 6, is_remote=True, trace_flags=TraceFlags(1))
    with (
        tracer.start_as_current_span("outer", attributes={"n": 1}, links=[Link(other)]) as outer,
        tracer.start_as_current_span("inner", kind=SpanKind.CLIENT, start_time=5),
    ):
        outer.add_event("half-way", {"done": 0.5}, timestamp=17)
        outer.set_status(StatusCode.OK)
        outer.set_status(StatusCode.ERROR, "too late: OK is final")
        trace.get_current_span().end(end_time=9)
    outer.set_attribute("late", True)
    seen.server_end(scope, OK)
    encoder = SpanEncoder(SHOP, OFFSET_NS)
    inner_span, outer_span = spans_of(
        export_request(b"", ((b"", [encoder.encode_open(span) for span in seen.spans]),))
    )
    assert outer_span.parent_span_id == (1).to_bytes(8, "big")
    assert inner_span.parent_span_id == outer_span.span_id
    assert outer_span.trace_id == inner_span.trace_id == TRACE.to_bytes(16, "big")
    assert said_by(outer_span.attributes) == {"n": 1}
    (event,) = outer_span.events
    assert (event.name, event.time_unix_nano, said_by(event.attributes)) == (
        "half-way", 17, {"done": 0.5},
    )  # fmt: skip
    (link,) = outer_span.links
    assert link.span_id == (6).to_bytes(8, "big")
    assert outer_span.status.code == 1
    assert outer_span.end_time_unix_nano > OFFSET_NS
    assert (inner_span.kind, inner_span.start_time_unix_nano, inner_span.end_time_unix_nano) == (
        3, 5, 9,
    )  # fmt: skip


def test_an_exception_marks_the_span_that_it_leaves(seen: LeanTelemetry) -> None:
    tracer = SlimTracerProvider(seen).get_tracer("shop")
    with pytest.raises(KeyError), tracer.start_as_current_span("fails"):
        raise KeyError("sku")
    (span,) = seen.spans
    assert span.notes is not None
    assert span.notes.status is not None
    assert span.notes.status.status_code is StatusCode.ERROR
    assert [event.name for event in span.notes.events] == ["exception"]
    assert span.notes.events[0].attributes["exception.type"] == "KeyError"


def test_what_user_code_says_about_a_hop_is_kept_under_its_span(seen: LeanTelemetry) -> None:
    scope = seen.server_begin(incoming())
    trace.get_current_span().set_attributes({"basket": 3})
    seen.server_end(scope, OK)
    assert seen.notes[1].attributes == {"basket": 3}


def test_a_third_partys_instrumentation_finds_its_parent_and_sends_its_own_context(
    seen: LeanTelemetry,
) -> None:
    """The official aiohttp client instrumentation, on our tracer, within one of our attempts."""
    told: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        told.append(request.headers["traceparent"])
        return web.Response()

    async def main() -> None:
        app = web.Application()
        app.router.add_get("/", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        config = create_trace_config(tracer_provider=SlimTracerProvider(seen))
        async with aiohttp.ClientSession(trace_configs=[config]) as session:
            attempt = seen.attempt_begin(HTTP, CAME, fanout=False)
            url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
            async with session.get(url):
                pass
            seen.attempt_end(attempt, outgoing(), 1, OK)
        await runner.cleanup()

    asyncio.run(main())
    (span,) = seen.spans
    assert span.parent is not None
    assert (span.parent.span_id, span.kind, span.name) == (1, SpanKind.CLIENT, "GET")
    assert told == [f"00-{TRACE:032x}-{span.trace.span_id:016x}-01"]
