"""The OpenTelemetry tracing API over hop records: what user code and other libraries see.

Scopes, fan-outs and attempts of the lean instrumentation are spans of the API (:class:`SlimSpan`);
what is said about them goes into :class:`Notes`, made when the first word is said. Spans that user
code or a third-party instrumentation opens itself are :class:`OpenSpan`; they go out with ours,
as children of whatever was current.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from opentelemetry.context import Context
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
    TracerProvider,
    get_current_span,
    use_span,
)
from opentelemetry.util._decorator import _agnosticcontextmanager

from services.wire.ports import TraceContext

if TYPE_CHECKING:
    from opentelemetry.util.types import Attributes, AttributeValue

IdSource = Callable[[int], int]


class Event:
    """Something that happened in a span; ``time_ns`` is Unix time."""

    __slots__ = ("attributes", "name", "time_ns")

    def __init__(self, name: str, time_ns: int, attributes: Mapping[str, AttributeValue]) -> None:
        self.name = name
        self.time_ns = time_ns
        self.attributes = attributes


class Notes:
    """What was said about one span through the API, beside what its record holds."""

    __slots__ = ("attributes", "events", "links", "name", "status")

    def __init__(self) -> None:
        self.attributes: dict[str, AttributeValue] = {}
        self.events: list[Event] = []
        self.links: list[Link] = []
        self.name: str | None = None
        self.status: Status | None = None


class SlimSpan:
    """The API's Span as a mix-in: needs ``trace`` and ``notes``, adds no state."""

    __slots__ = ()

    if TYPE_CHECKING:
        trace: TraceContext
        notes: Notes | None

    def _noted(self) -> Notes:
        if self.notes is None:
            self.notes = Notes()  # type: ignore[misc]  # the slot is the subclass's
        return self.notes

    def get_span_context(self) -> SpanContext:
        trace_id, span_id, sampled = self.trace
        return SpanContext(trace_id, span_id, is_remote=False, trace_flags=TraceFlags(sampled))

    def is_recording(self) -> bool:
        return self.trace.sampled

    def end(self, end_time: int | None = None) -> None:
        """Ends nothing: a hop ends when its handler does."""

    def set_attribute(self, key: str, value: AttributeValue) -> None:
        if self.is_recording():
            self._noted().attributes[key] = value

    def set_attributes(self, attributes: Mapping[str, AttributeValue]) -> None:
        if self.is_recording():
            self._noted().attributes.update(attributes)

    def add_event(
        self, name: str, attributes: Attributes = None, timestamp: int | None = None
    ) -> None:
        if self.is_recording():
            at = time.time_ns() if timestamp is None else timestamp
            self._noted().events.append(Event(name, at, dict(attributes or {})))

    def add_link(self, context: SpanContext, attributes: Attributes = None) -> None:
        if self.is_recording():
            self._noted().links.append(Link(context, attributes))

    def update_name(self, name: str) -> None:
        if self.is_recording():
            self._noted().name = name

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """OK is final, and UNSET never replaces anything, as the API asks."""
        if not self.is_recording():
            return
        new = Status(status, description) if isinstance(status, StatusCode) else status
        notes = self._noted()
        if new.is_unset or (notes.status is not None and notes.status.status_code is StatusCode.OK):
            return
        notes.status = new

    def record_exception(
        self,
        exception: BaseException,
        attributes: Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        kind = type(exception)
        said: dict[str, AttributeValue] = {
            "exception.type": kind.__qualname__
            if kind.__module__ == "builtins"
            else f"{kind.__module__}.{kind.__qualname__}",
            "exception.message": str(exception),
        }
        said.update(attributes or {})
        self.add_event("exception", said, timestamp)

    def __enter__(self) -> SlimSpan:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc is not None:
            self.record_exception(exc)
            self.set_status(StatusCode.ERROR, f"{type(exc).__name__}: {exc}")
        self.end()


# Registered and not inherited: the API's class has no slots, and an instance dictionary would be
# paid for by every hop.
Span.register(SlimSpan)


class Spans(Protocol):
    """Where spans that user code opened go when they end."""

    ids: IdSource
    spans: list[OpenSpan]
    now_ns: Callable[[], int]


class OpenSpan(SlimSpan):
    """A span opened by user code.

    ``start_ns`` and ``end_ns`` are of the service's clock, like a record's; where the caller gave a
    time of its own, ``start_unix_ns`` and ``end_unix_ns`` hold it.
    """

    __slots__ = (
        "_spans",
        "end_ns",
        "end_unix_ns",
        "ended",
        "kind",
        "name",
        "notes",
        "parent",
        "scope",
        "start_ns",
        "start_unix_ns",
        "trace",
    )

    def __init__(
        self,
        spans: Spans,
        trace: TraceContext,
        *,
        scope: str,
        name: str,
        kind: SpanKind,
        parent: SpanContext | None,
        start_unix_ns: int | None,
    ) -> None:
        self._spans = spans
        self.trace = trace
        self.scope = scope
        self.name = name
        self.kind = kind
        self.parent = parent
        self.notes: Notes | None = None
        self.start_ns = spans.now_ns()
        self.start_unix_ns = start_unix_ns
        self.end_ns = 0
        self.end_unix_ns: int | None = None
        self.ended = False

    def is_recording(self) -> bool:
        return not self.ended

    def end(self, end_time: int | None = None) -> None:
        if not self.ended:
            self.ended = True
            self.end_ns = self._spans.now_ns()
            self.end_unix_ns = end_time
            self._spans.spans.append(self)


class SlimTracer(Tracer):
    def __init__(self, spans: Spans, scope: str) -> None:
        self._spans = spans
        self._scope = scope

    def start_span(  # noqa: PLR0917  # the API's signature
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
    ) -> Span:
        came = get_current_span(context).get_span_context()
        parent = came if came.is_valid else None
        if parent is not None and not parent.trace_flags.sampled:
            return NonRecordingSpan(parent)
        trace_id = self._spans.ids(128) or 1 if parent is None else parent.trace_id
        span = OpenSpan(
            self._spans,
            TraceContext(trace_id, self._spans.ids(64) or 1, True),
            scope=self._scope,
            name=name,
            kind=kind,
            parent=parent,
            start_unix_ns=start_time,
        )
        if attributes:
            span.set_attributes(attributes)
        for link in links or ():
            span.add_link(link.context, link.attributes)
        return span  # type: ignore[return-value]  # registered above

    @_agnosticcontextmanager
    def start_as_current_span(  # noqa: PLR0917  # the API's signature
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
        end_on_exit: bool = True,
    ) -> Iterator[Span]:
        span = self.start_span(name, context, kind, attributes, links, start_time)
        with use_span(span, end_on_exit, record_exception, set_status_on_exception):
            yield span


class SlimTracerProvider(TracerProvider):
    """``trace.set_tracer_provider(SlimTracerProvider(telemetry))`` in a service process."""

    def __init__(self, spans: Spans) -> None:
        self._spans = spans

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: Attributes = None,
    ) -> Tracer:
        return SlimTracer(self._spans, instrumenting_module_name)
