"""The official instrumentations behind the same port: their spans, our records for the metrics.

HTTP and gRPC hops are traced by opentelemetry-instrumentation-aiohttp-client, -aiohttp-server and
-grpc on the OpenTelemetry SDK; they write and read ``traceparent`` themselves, so attempts carry no
trace of ours. What they do not record and our analyzers use (key, items, sizes, attempt) is added
in their hooks (hooks.py), from the ``hopbench`` header.

The hops of Kafka (and of any protocol without an instrumentation), fan-outs and their
``call.<service>.<operation>`` spans are opened here with the SDK's tracer. Of a message,
opentelemetry-instrumentation-aiokafka sees the handing over and the taking: its ``<topic> send``
and ``<topic> receive`` are below the hop's first span, and are no hops themselves
(analysis/reading/steps.py).
"""

from __future__ import annotations

import asyncio
import time
from contextvars import Token
from dataclasses import dataclass
from typing import Final

from opentelemetry.context import Context, attach, detach
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    TraceFlags,
    get_current_span,
    set_span_in_context,
)

from services.telemetry import protobuf as otlp
from services.telemetry.conventions import INSTRUMENTED
from services.telemetry.lean import LeanTelemetry
from services.telemetry.official.hooks import hooks, judge
from services.telemetry.pipeline import DEFAULT_PACE, Pace, Pipeline
from services.telemetry.port import Attempt, Fanout, Scope
from services.telemetry.records import CLIENT, CONSUMER, INTERNAL, PRODUCER, SCOPE, SERVER
from services.telemetry.sender import Sender
from services.telemetry.spans import (
    FANOUT,
    QUEUE_NS,
    Shape,
    SpanShape,
    end_of,
    key_attributes,
    span_shape,
)
from services.transports.site import Hooks
from services.wire.ports import Clock, Incoming, Outgoing, Reply, Status, TraceContext, Wire
from services.wire.topology import Topology

BATCH_SPANS: Final = 32
"""The SDK's default of 512 triples the P99 of what it observes (docs/measurement.md, fact 2)."""
_QUEUE_SPANS: Final = 1 << 16
_DELAY_MS: Final = 500.0
_KINDS: Final = {
    INTERNAL: SpanKind.INTERNAL,
    SERVER: SpanKind.SERVER,
    CLIENT: SpanKind.CLIENT,
    PRODUCER: SpanKind.PRODUCER,
    CONSUMER: SpanKind.CONSUMER,
}


class OfficialScope(Scope):
    """``span`` is the SDK's; with a ``token`` we opened it, and must end it."""

    __slots__ = ("span", "token")

    span: Span
    token: Token[Context] | None


class OfficialFanout(Fanout):
    __slots__ = ("span", "token")

    span: Span
    token: Token[Context]


class OfficialAttempt(Attempt):
    """``span`` is ours: Kafka's, or that of a call within a fan-out; else None."""

    __slots__ = ("span", "token")

    span: Span | None
    token: Token[Context] | None


class OfficialTelemetry(LeanTelemetry):
    """Spans on an SDK provider; ``records`` for metrics alone."""

    def __init__(
        self,
        topology: Topology,
        service: str,
        replica: int,
        clock: Clock,
        provider: TracerProvider,
        *,
        offset_ns: int,
    ) -> None:
        """``offset_ns`` turns the clock's time into Unix time."""
        super().__init__(topology, service, replica, clock)
        self._offset_ns = offset_ns
        self._tracer = provider.get_tracer(SCOPE)
        self._shapes: dict[Shape, SpanShape] = {}

    def server_begin(self, incoming: Incoming) -> OfficialScope:
        if incoming.protocol not in INSTRUMENTED:
            return self._consume(incoming)
        span = get_current_span()
        if span.is_recording():
            span.set_attribute("hopbench.items", self._items_of(incoming.ticket))
            if incoming.key is not None:
                span.set_attribute("hopbench.key", incoming.key)
        scope = OfficialScope(_traced(span), incoming, incoming.received_ns)
        scope.span, scope.token = span, None
        return scope

    def _consume(self, incoming: Incoming) -> OfficialScope:
        came = incoming.trace
        parent = Context() if came is None else _context(came, remote=True)
        kind = CONSUMER if incoming.mode == "publish" else SERVER
        site = self._sites[incoming.operation]
        shape = Shape(kind, site, 0, 0, 0, 0, incoming.protocol, False)
        opened = self._shape(shape)
        links = (
            [Link(get_current_span(parent).get_span_context())]
            if kind == CONSUMER and came is not None
            else []
        )
        span = self._tracer.start_span(
            opened.name,
            parent,
            _KINDS[kind],
            opened.attributes,
            links=links,
            start_time=incoming.received_ns + self._offset_ns,
        )
        if span.is_recording():
            span.set_attribute("hopbench.items", self._items_of(incoming.ticket))
            if incoming.key is not None:
                span.set_attributes(key_attributes(end_of(self.topology, shape), incoming.key))
        scope = OfficialScope(_traced(span), incoming, incoming.received_ns)
        scope.span, scope.token = span, attach(set_span_in_context(span, Context()))
        return scope

    def server_end(self, scope: Scope, reply: Reply) -> None:
        assert isinstance(scope, OfficialScope)
        scope.span.set_attribute(QUEUE_NS, scope.queue_ns)
        # A cancelled handler gives the instrumentation no answer to read a status from.
        if scope.token is not None or reply.status is Status.CANCELLED:
            judge(scope.span, reply.status)
        super().server_end(scope, reply)
        if scope.token is not None:
            detach(scope.token)
            scope.span.end()

    def fanout_begin(self, scope: Scope, parent: TraceContext) -> OfficialFanout:
        context = _context(parent)
        span = self._tracer.start_span(FANOUT, context)
        fanout = OfficialFanout(parent, _traced(span), self.now_ns())
        fanout.span, fanout.token = span, attach(set_span_in_context(span, context))
        return fanout

    def fanout_end(self, scope: Scope, fanout: Fanout) -> None:
        assert isinstance(fanout, OfficialFanout)
        fanout.span.set_attributes(
            {"fanout.call_count": fanout.calls, "fanout.failures": fanout.failures}
        )
        detach(fanout.token)
        fanout.span.end()
        super().fanout_end(scope, fanout)

    def attempt_begin(self, wire: Wire, parent: TraceContext, *, fanout: bool) -> OfficialAttempt:
        current = get_current_span()
        # Behaviour says whose child the call is; what is current may be a sibling's.
        context = None if _traced(current) == parent else _context(parent)
        span = self._open(wire, context, fanout=fanout)
        # The instrumentations inject what is current; Kafka's transport writes what it is given.
        trace = None if span is None or wire.protocol in INSTRUMENTED else _traced(span)
        attempt = OfficialAttempt(wire, parent, trace, self.now_ns(), fanout)
        within = context if span is None else set_span_in_context(span, context)
        attempt.span, attempt.token = span, None if within is None else attach(within)
        return attempt

    def _open(self, wire: Wire, context: Context | None, *, fanout: bool) -> Span | None:
        if wire.protocol not in INSTRUMENTED:
            opened = self._shape(_sent(wire, fanout=fanout))
            kind = _KINDS[opened.kind]
            return self._tracer.start_span(opened.name, context, kind, opened.attributes)
        if fanout:
            return self._tracer.start_span(
                f"call.{wire.callee}.{wire.operation}",
                context,
                attributes={"target.service": wire.callee, "rpc.method": wire.operation},
            )
        return None

    def attempt_end(self, attempt: Attempt, out: Outgoing, items: int, reply: Reply) -> None:
        assert isinstance(attempt, OfficialAttempt)
        span, wire = attempt.span, attempt.wire
        if span is not None:
            if span.is_recording():
                span.set_attribute("hopbench.items", items)
                if out.attempt:
                    span.set_attribute("hopbench.attempt", out.attempt)
                if wire.protocol not in INSTRUMENTED:
                    sent = _sent(wire, fanout=attempt.fanout)
                    opened = self._shape(sent)
                    if opened.request_size is not None:
                        span.set_attribute(opened.request_size, out.request_bytes)
                    if opened.response_size is not None:
                        span.set_attribute(opened.response_size, reply.response_bytes)
                    if out.key is not None:
                        span.set_attributes(key_attributes(end_of(self.topology, sent), out.key))
                judge(span, reply.status)
            span.end()
        if attempt.token is not None:
            detach(attempt.token)
        super().attempt_end(attempt, out, items, reply)

    def _shape(self, shape: Shape) -> SpanShape:
        found = self._shapes.get(shape)
        if found is None:
            found = self._shapes[shape] = span_shape(self.topology, shape)
            found.attributes.pop("hopbench.items", None)
        return found


def _sent(wire: Wire, *, fanout: bool) -> Shape:
    kind = PRODUCER if wire.mode == "publish" else CLIENT
    return Shape(kind, wire.index, 0, 0, 0, int(fanout), 0, False)


def _traced(span: Span) -> TraceContext:
    context = span.get_span_context()
    return TraceContext(context.trace_id, context.span_id, context.trace_flags.sampled)


def _context(trace: TraceContext, *, remote: bool = False) -> Context:
    trace_id, span_id, sampled = trace
    said = SpanContext(trace_id, span_id, is_remote=remote, trace_flags=TraceFlags(sampled))
    return set_span_in_context(NonRecordingSpan(said), Context())


# --- what is sent -----------------------------------------------------------------------------


class _Ended(SpanProcessor):
    """Counts, because the batch processor tells nobody what it drops."""

    def __init__(self) -> None:
        self.count = 0

    def on_end(self, span: ReadableSpan) -> None:
        if span.context is not None and span.context.trace_flags.sampled:
            self.count += 1


class _Lent(SpanProcessor):
    """Another's processor, which only that other shuts down."""

    def __init__(self, processor: SpanProcessor) -> None:
        self._processor = processor

    def on_end(self, span: ReadableSpan) -> None:
        self._processor.on_end(span)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._processor.force_flush(timeout_millis)


@dataclass(slots=True)
class OfficialPipeline:
    """The SDK's batch processor for spans, ours for metrics, with one face (pipeline.Pipeline)."""

    provider: TracerProvider
    metrics: Pipeline
    _ended: _Ended

    @property
    def spans_ended(self) -> int:
        return self._ended.count

    async def start(self) -> None:
        await self.metrics.start()

    async def flush(self, timeout_s: float = 5.0) -> bool:
        sent = await asyncio.to_thread(self.provider.force_flush, int(timeout_s * 1000))
        return await self.metrics.flush(timeout_s) and sent

    async def hand_over(self) -> None:
        """For one that shares its way out: spans are with it already."""
        await self.metrics.hand_over()

    def step(self, now_s: float) -> bool:
        return self.metrics.step(now_s)

    async def close(self) -> None:
        await asyncio.to_thread(self.provider.shutdown)
        await self.metrics.close()


def _exporter(endpoint: str) -> SpanExporter:
    return OTLPSpanExporter(endpoint=endpoint, insecure=True)


class SharedSpans:
    """One batch processor and one exporter for the providers of several services."""

    def __init__(self, endpoint: str) -> None:
        self.processor = _batches(_exporter(endpoint))

    def flush(self, timeout_s: float) -> bool:
        return self.processor.force_flush(int(timeout_s * 1000))

    def close(self) -> None:
        self.processor.shutdown()  # type: ignore[no-untyped-call]  # untyped in the SDK


def tracer_provider(
    resource: otlp.Attributes, exporter: SpanExporter | SharedSpans
) -> tuple[TracerProvider, _Ended]:
    """The SDK as the official rows use it: parent-based sampling, small batches."""
    # The process shuts it down itself; the SDK's own exit hook would wait for a dead receiver.
    provider = TracerProvider(
        sampler=ParentBased(ALWAYS_ON),
        resource=Resource(dict(resource)),
        shutdown_on_exit=False,
    )
    ended = _Ended()
    provider.add_span_processor(ended)
    provider.add_span_processor(
        _Lent(exporter.processor) if isinstance(exporter, SharedSpans) else _batches(exporter)
    )
    return provider, ended


def _batches(exporter: SpanExporter) -> BatchSpanProcessor:
    return BatchSpanProcessor(
        exporter,
        max_queue_size=_QUEUE_SPANS,
        schedule_delay_millis=_DELAY_MS,
        max_export_batch_size=BATCH_SPANS,
    )


def official(
    topology: Topology,
    service: str,
    replica: int,
    clock: Clock,
    sender: Sender,
    *,
    resource: otlp.Attributes,
    spans: str | SharedSpans,
    offset_ns: int | None = None,
    pace: Pace = DEFAULT_PACE,
    shared: bool = False,
) -> tuple[OfficialTelemetry, OfficialPipeline, Hooks]:
    """Everything that one service replica needs for ``--instrumentation official``.

    ``spans`` is where they go, as ``HOST:PORT`` or what several replicas of a process share;
    ``sender`` sends the metrics, and ``shared`` says that it is not this replica's alone.
    """
    provider, ended = tracer_provider(
        resource, _exporter(spans) if isinstance(spans, str) else spans
    )
    if offset_ns is None:
        offset_ns = time.time_ns() - clock.now_ns()
    telemetry = OfficialTelemetry(topology, service, replica, clock, provider, offset_ns=offset_ns)
    metrics = Pipeline(
        telemetry, sender, resource, spans=False, offset_ns=offset_ns, pace=pace, shared=shared
    )
    return telemetry, OfficialPipeline(provider, metrics, ended), hooks(provider)
