"""Tiny traces for tests: a few calls on one screen, read the way real spans are read.

Times are ms. A call is a CLIENT span with its SERVER span in the middle, ``tax`` ms of the wire
on either side.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import orjson

from analysis.analyse import Analysis, analyse
from analysis.arrays import NONE
from analysis.findings.finding import Finding
from analysis.findings.observed import Mode
from analysis.findings.settings import Settings
from analysis.reading.normalisation import Normalised, normalise
from analysis.reading.recorder import Recorder
from analysis.spans.parquet import write_parquet
from analysis.spans.table import Kind, SpanTable
from analysis.traces.critical_path import CriticalPath, Policy, critical_path
from services import codec
from services.scenario.facts import EMPTY, Facts

MS = 1_000_000
EPOCH = 1_700_000_000_000_000_000

Attributes = Mapping[str, object]
NOTHING: Attributes = MappingProxyType({})


@dataclass(frozen=True)
class Span:
    """A span that was recorded; the parent of those made from it."""

    traces: Traces
    trace: str
    id: str
    service: str
    start: float
    end: float

    def internal(self, name: str, start: float, end: float, said: Attributes = NOTHING) -> Span:
        return self.traces.span(
            self.trace, self, self.service, name, start, end, Kind.INTERNAL, attributes=said
        )

    def client(
        self,
        callee: str,
        operation: str,
        start: float,
        end: float,
        *,
        protocol: str = "http",
        error: bool = False,
        said: Attributes = NOTHING,
    ) -> Span:
        """The caller's end alone."""
        attributes = {**_wire(protocol, callee, operation), "server.address": callee, **said}
        return self.traces.span(
            self.trace,
            self,
            self.service,
            f"to {callee}",
            start,
            end,
            Kind.CLIENT,
            error=error,
            attributes=attributes,
        )

    def call(
        self,
        callee: str,
        operation: str,
        start: float,
        end: float,
        *,
        tax: float = 0.5,
        protocol: str = "http",
        error: bool = False,
        instance: str | None = None,
        said: Attributes = NOTHING,
        queue: float | None = None,
    ) -> Span:
        """Both ends; returns the SERVER span, which waited for ``queue`` ms, if it says so."""
        client = self.client(
            callee, operation, start, end, protocol=protocol, error=error, said=said
        )
        return self.traces.span(
            self.trace,
            client,
            callee,
            f"serve {operation}",
            start + tax,
            end - tax,
            Kind.SERVER,
            error=error,
            instance=instance,
            attributes={**_wire(protocol, callee, operation), **_queued(queue)},
        )

    def publish(
        self,
        callee: str,
        operation: str,
        start: float,
        acknowledged: float,
        handled: tuple[float, float] | None,
        *,
        link_only: bool = False,
        queue: float | None = None,
    ) -> Span:
        """A PRODUCER span and, where it was handled, its CONSUMER; returns the last of them."""
        topic = f"{callee}.{operation}"
        said = _wire("kafka", callee, operation)
        producer = self.traces.span(
            self.trace,
            self,
            self.service,
            f"send {topic}",
            start,
            acknowledged,
            Kind.PRODUCER,
            attributes=said,
        )
        if handled is None:
            return producer
        return self.traces.span(
            f"{self.trace}-linked" if link_only else self.trace,
            None if link_only else producer,
            callee,
            f"process {topic}",
            *handled,
            Kind.CONSUMER,
            attributes={**said, **_queued(queue)},
            links=[producer],
        )


def _queued(ms: float | None) -> Attributes:
    return {} if ms is None else {"hopbench.queue_ns": round(ms * 1e6)}


@dataclass
class Traces:
    """Recorded spans, in the order they are made."""

    recorder: Recorder = field(default_factory=Recorder)
    _resources: dict[tuple[str, str | None, str], int] = field(default_factory=dict)
    _spans: int = 0

    def span(  # noqa: PLR0917  # a row of a picture: trace, parent, service, name, from, to, kind
        self,
        trace: str,
        parent: Span | str | None,
        service: str,
        name: str,
        start: float,
        end: float,
        kind: int = Kind.UNSPECIFIED,
        *,
        id: str | None = None,
        error: bool = False,
        instance: str | None = None,
        attributes: Attributes = NOTHING,
        links: Iterable[Span] = (),
        follows: bool = False,
        shared: bool = False,
        host: str = "here",
    ) -> Span:
        """``parent`` may be an id that is never recorded."""
        self._spans += 1
        own = id or f"s{self._spans:04d}"
        said = {"host.name": host, "service.name": service}
        if instance is not None:
            said["service.instance.id"] = instance
        resource = self._resources.setdefault((service, instance, host), len(self._resources))
        if resource == len(self.recorder.resources):
            self.recorder.add_resource(said)
        ids = self.recorder.ids
        above = parent.id if isinstance(parent, Span) else parent
        self.recorder.add(
            trace=self.recorder.traces[trace],
            span=ids[own],
            parent=NONE if above is None else ids[above],
            name=name,
            kind=kind,
            status=2 if error else 0,
            start=EPOCH + round(start * MS),
            end=EPOCH + round(end * MS),
            resource=resource,
            attributes=[self.recorder.pair(key, str(value)) for key, value in attributes.items()],
            links=[(self.recorder.traces[link.trace], ids[link.id]) for link in links],
            follows=follows,
            shared=shared,
        )
        return Span(self, trace, own, service, start, end)

    def request(
        self,
        trace: str,
        service: str = "gateway",
        operation: str = "buy",
        start: float = 0,
        end: float = 100,
    ) -> Span:
        """The SERVER span that a trace begins with."""
        return self.span(
            trace,
            None,
            service,
            f"serve {operation}",
            start,
            end,
            Kind.SERVER,
            attributes=_wire("http", service, operation),
        )

    def normalised(self, *, skew: bool = False) -> Normalised:
        return normalise(self.recorder, skew=skew)

    def table(self) -> SpanTable:
        return self.normalised().spans

    def analysed(
        self,
        *,
        facts: Facts = EMPTY,
        settings: Settings | None = None,
        mode: Mode = "analyze",
    ) -> Analysis:
        return analyse(self.table(), facts, settings or Settings(), mode)

    def found(
        self, kind: str = "", *, facts: Facts = EMPTY, settings: Settings | None = None
    ) -> tuple[Finding, ...]:
        """Findings whose kind starts so."""
        analysis = self.analysed(facts=facts, settings=settings)
        return tuple(f for f in analysis.findings if f.kind.startswith(kind))


def _wire(protocol: str, service: str, operation: str) -> Attributes:
    match protocol:
        case "http":
            return {"http.request.method": "POST", "url.path": f"/{operation}"}
        case "grpc":
            return {"rpc.system": "grpc", "rpc.service": service, "rpc.method": operation}
        case _:
            return {
                "messaging.system": "kafka",
                "messaging.destination.name": f"{service}.{operation}",
            }


def written(spans: SpanTable, path: Path) -> Path:
    """A span table as Parquet."""
    with path.open("wb") as file:
        write_parquet(spans, file)
    return path


def told(value: object) -> Any:
    """A document as its reader gets it."""
    return orjson.loads(codec.encode(value))


def kinds(findings: Iterable[Finding]) -> list[str]:
    return sorted(f.kind for f in findings)


def plain(
    spans: Sequence[tuple[str, str | None, int, int]], *, kind: int = Kind.INTERNAL
) -> SpanTable:
    """One trace of (id, parent, start, end) in ns from EPOCH, one service for each span."""
    made = Traces()
    for own, parent, start, end in spans:
        made.span("t", parent, own, own, start / MS, end / MS, kind, id=own)
    return made.table()


def own_time(table: SpanTable, policy: Policy) -> dict[str, int]:
    """Exclusive ns on the path, by span id."""
    path = critical_path(table, policy)
    return {
        table.span_id(row): int(path.exclusive[row])
        for row in range(len(table))
        if path.on_path[row]
    }


def drawn(table: SpanTable, policy: Policy) -> list[tuple[str, int, int]]:
    """The sections as (span id, start, end), in ns from EPOCH."""
    path: CriticalPath = critical_path(table, policy)
    at = path.sections
    return [
        (table.span_id(int(row)), int(start) - EPOCH, int(end) - EPOCH)
        for row, start, end in zip(at.row, at.start, at.end, strict=True)
    ]
