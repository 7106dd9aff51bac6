"""The official instrumentations of aiohttp, gRPC and aiokafka, as hooks for the transports.

Where a library falls short, it is made up for here and nowhere else:

- The aiohttp server's instrumentation keeps what its middleware needs in module globals that only
  ``instrument()`` fills, which also patches ``aiohttp.web``; the patch is taken back at once.
- The gRPC client's interceptor never ends the span of a call that is cancelled, and sees no
  metadata in its hooks: an interceptor of ours inside it does both.
- aiokafka's patches two classes, for one provider a process; the patches are taken back, and bound
  to each service's own producers and consumers, in place of one that is there already. It opens
  ``<topic> send`` (until the producer has the message, not until the broker has) and ``<topic>
  receive`` (before the handler runs), so the hop itself, PRODUCER and CONSUMER or CLIENT and
  SERVER, is still opened by our telemetry around them. Reading is by ``getone``: each poll with
  ``getmany`` would begin a trace of its own.
"""

from __future__ import annotations

import asyncio
import os
import warnings
from collections.abc import Awaitable, Callable
from typing import Any, Final

import grpc
from aiohttp import TraceConfig, TraceRequestEndParams, TraceRequestStartParams, web
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from opentelemetry.instrumentation._semconv import _StabilityMode
from opentelemetry.instrumentation.aiohttp_client import create_trace_config
from opentelemetry.instrumentation.aiohttp_server import (
    AioHttpServerInstrumentor,
    create_aiohttp_middleware,
)
from opentelemetry.instrumentation.aiokafka import AIOKafkaInstrumentor
from opentelemetry.instrumentation.grpc import (
    aio_client_interceptors,
    aio_server_interceptor,
    filters,
)
from opentelemetry.instrumentation.utils import unwrap
from opentelemetry.trace import Span, StatusCode, TracerProvider, get_current_span

from services.scenario.names import GRPC_PACKAGE
from services.transports.site import Hooks, KafkaHooks
from services.wire import ticket
from services.wire.ports import Status


def judge(span: Span, status: Status) -> None:
    """How a hop ended that no answer tells of."""
    if status is not Status.OK and span.is_recording():
        span.set_status(StatusCode.ERROR)
        span.set_attribute("error.type", status.name.lower())


def _said(span: Span, header: str | None) -> None:
    """What the ``hopbench`` header tells about an attempt."""
    if header is None or not span.is_recording():
        return
    told = ticket.parse_header(header)
    span.set_attribute("hopbench.mode", "call")
    span.set_attribute("hopbench.items", ticket.count(told.ticket))
    if told.attempt:
        span.set_attribute("hopbench.attempt", told.attempt)


def _http_sent(span: Span, params: TraceRequestStartParams) -> None:
    _said(span, params.headers.get(ticket.HEADER))
    if span.is_recording():
        _, _, key = params.url.path[1:].partition("/")
        if key:
            span.set_attribute("hopbench.key", key)


def _http_answered(span: Span, params: Any) -> None:
    if isinstance(params, TraceRequestEndParams) and span.is_recording():
        length = params.response.content_length
        if length is not None:
            span.set_attribute("http.response.body.size", length)


async def _http_body(_session: Any, context: Any, params: Any) -> None:
    """The instrumentation's own span rides in its trace context; bodies come in chunks."""
    span = context.span
    if span is not None and span.is_recording():
        before = span.attributes.get("http.request.body.size", 0)
        span.set_attribute("http.request.body.size", before + len(params.chunk))


class _GrpcInside(grpc.aio.UnaryUnaryClientInterceptor):  # type: ignore[type-arg]
    """Within the official interceptor, whose span is current here."""

    async def intercept_unary_unary(
        self,
        continuation: Callable[[Any, Any], Awaitable[Any]],
        client_call_details: grpc.aio.ClientCallDetails,
        request: Any,
    ) -> Any:
        span = get_current_span()
        if not span.is_recording():
            return await continuation(client_call_details, request)
        for name, value in client_call_details.metadata or ():
            if name == ticket.HEADER:
                _said(span, str(value))
        span.set_attribute("hopbench.request_bytes", len(request.payload))
        if request.HasField("key"):
            span.set_attribute("hopbench.key", request.key)
        call = None
        try:
            call = await continuation(client_call_details, request)
            if await call.code() is grpc.StatusCode.OK:
                answer = await call
                span.set_attribute("hopbench.response_bytes", len(answer.payload))
        except asyncio.CancelledError:
            if call is not None:
                call.cancel()
            judge(span, Status.CANCELLED)
            span.end()
            raise
        return call


def _http_middleware(provider: TracerProvider) -> Any:
    os.environ.setdefault("OTEL_SEMCONV_STABILITY_OPT_IN", "http")
    instrumentor = AioHttpServerInstrumentor()
    with warnings.catch_warnings():
        # It subclasses web.Application, which aiohttp discourages; the class is thrown away here.
        warnings.simplefilter("ignore", DeprecationWarning)
        instrumentor.instrument(tracer_provider=provider)
    instrumentor.uninstrument()
    official = create_aiohttp_middleware(provider)

    @web.middleware
    async def operations_only(request: web.Request, handler: Any) -> web.StreamResponse:
        """A node asking whether a process lives is no request of the scenario."""
        if request.method != "POST":
            answer: web.StreamResponse = await handler(request)
            return answer
        traced: web.StreamResponse = await official(request, handler)
        return traced

    return operations_only


def _http_trace_config(provider: TracerProvider) -> TraceConfig:
    config = create_trace_config(
        request_hook=_http_sent,
        response_hook=_http_answered,
        tracer_provider=provider,
        sem_conv_opt_in_mode=_StabilityMode.HTTP,
    )
    config.on_request_chunk_sent.append(_http_body)
    return config


class _KafkaInstrumentor(AIOKafkaInstrumentor):
    """Apart from the process's one: instrumentors are singletons, and a library may use that."""

    _instance = None


_KAFKA_PATCHED: Final = (
    (AIOKafkaProducer, "send"),
    (AIOKafkaConsumer, "getone"),
    (AIOKafkaConsumer, "getmany"),
)


def _kafka_hooks(provider: TracerProvider) -> KafkaHooks:
    before = [vars(kind)[name] for kind, name in _KAFKA_PATCHED]
    if AIOKafkaInstrumentor().is_instrumented_by_opentelemetry:
        # Around that patch, ours would trace each message twice.
        for kind, name in _KAFKA_PATCHED:
            unwrap(kind, name)
    instrumentor = _KafkaInstrumentor()
    instrumentor.instrument(tracer_provider=provider)
    send, getone = vars(AIOKafkaProducer)["send"], vars(AIOKafkaConsumer)["getone"]
    instrumentor.uninstrument()
    for (kind, name), method in zip(_KAFKA_PATCHED, before, strict=True):
        setattr(kind, name, method)

    async def taken(consumer: Any) -> Any:
        while True:
            try:
                return await getone.__get__(consumer)()
            except UnicodeDecodeError:
                # Trace context that is no text: a stranger's message, which we would not take.
                continue

    return KafkaHooks(
        send=lambda producer, *what, **how: send.__get__(producer)(*what, **how), getone=taken
    )


def hooks(provider: TracerProvider) -> Hooks:
    """What the transports' constructors hang into clients and servers."""
    return Hooks(
        aiohttp_middlewares=(_http_middleware(provider),),
        aiohttp_trace_configs=(_http_trace_config(provider),),
        kafka=_kafka_hooks(provider),
        grpc_client_interceptors=(
            *aio_client_interceptors(tracer_provider=provider),  # type: ignore[no-untyped-call]
            _GrpcInside(),
        ),
        grpc_server_interceptors=(
            aio_server_interceptor(  # type: ignore[no-untyped-call]
                tracer_provider=provider, filter_=filters.service_prefix(f"{GRPC_PACKAGE}.")
            ),
        ),
    )
