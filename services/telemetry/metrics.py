"""The seven metrics, from the records of every request, sampled or not.

| name | from | one value for |
|---|---|---|
| ``service.call.duration`` (ms) | CLIENT, PRODUCER | an attempt, as its caller saw it |
| ``service.call.payload_size`` (By) | CLIENT, PRODUCER | an attempt and ``direction`` |
| ``service.call.retries`` | CLIENT, PRODUCER | an attempt after the first (sum) |
| ``service.calls_per_request`` | SERVER, CONSUMER | a request handled: its outgoing calls |
| ``protocol.call.duration`` (ms) | CLIENT, PRODUCER | an attempt |
| ``protocol.call.count`` | CLIENT, PRODUCER | an attempt (sum) |
| ``protocol.call.errors`` | CLIENT, PRODUCER | an attempt that did not end OK (sum) |

``service.*`` carry target.service, rpc.method (the operation) and rpc.protocol; for
``service.calls_per_request`` these name the handling service, its operation and the protocol that
the request came by. ``protocol.*`` carry rpc.protocol and target.service, and are sums over the
former, made when they are exported. A publish has ``hopbench.mode: publish`` beside, so that
waiting for an ack is never averaged with waiting for a reply; it has no response to measure.

Temporality is delta. A point is exported for every edge that was used since the last export, zero
retries and zero errors included.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from services.telemetry import protobuf
from services.telemetry.records import (
    CALLS,
    CLIENT,
    CONSUMER,
    INTERNAL,
    PEER,
    PRODUCER,
    SCOPE,
    Record,
)
from services.wire.topology import Topology

DURATION_BOUNDS_MS: Final = (
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    25.0,
    50.0,
    100.0,
    250.0,
    500.0,
    1000.0,
    2500.0,
    5000.0,
    10000.0,
)
SIZE_BOUNDS: Final = tuple(float(4**n) for n in range(3, 14))
"""64 B to 64 MiB."""
CALLS_BOUNDS: Final = (0.0, 1.0, 2.0, 3.0, 5.0, 8.0, 13.0, 21.0, 34.0, 55.0, 89.0, 144.0)

_DURATION_BOUNDS_NS: Final = tuple(int(bound * 1e6) for bound in DURATION_BOUNDS_MS)
_SPILL: Final = 256
"""Distinct sizes kept apart before they are folded into buckets."""

_SCOPE: Final = protobuf.scope(SCOPE)
_DELTA: Final = protobuf.integer(2, 1)
_MONOTONIC: Final = protobuf.integer(3, 1)


@dataclass(slots=True)
class Histogram:
    """Explicit buckets with exact count, sum, min and max; bucket i holds values ≤ bounds[i]."""

    bounds: Sequence[float]
    buckets: list[int] = field(default_factory=list)
    """Nothing given is a zero for each."""
    count: int = 0
    sum: float = 0
    min: float = float("inf")
    max: float = float("-inf")

    def __post_init__(self) -> None:
        self.buckets = self.buckets or [0] * (len(self.bounds) + 1)

    def add(self, value: float, times: int = 1) -> None:
        self.buckets[bisect_left(self.bounds, value)] += times
        self.count += times
        self.sum += value * times
        self.min = min(self.min, value)
        self.max = max(self.max, value)

    def merge(self, other: Histogram) -> None:
        self.buckets = [a + b for a, b in zip(self.buckets, other.buckets, strict=True)]
        self.count += other.count
        self.sum += other.sum
        self.min = min(self.min, other.min)
        self.max = max(self.max, other.max)


@dataclass(slots=True)
class Tally:
    """Values that mostly repeat (sizes, counts), kept by value; folded when they do not."""

    bounds: Sequence[float]
    values: dict[int, int] = field(default_factory=dict)
    folded: Histogram | None = None

    def fold(self) -> Histogram:
        if self.folded is None:
            self.folded = Histogram(self.bounds)
        for value, times in self.values.items():
            self.folded.add(value, times)
        self.values.clear()
        return self.folded


@dataclass(slots=True)
class Calls:
    """What was sent over edges with one (callee, operation, protocol, mode) since last exported."""

    duration_ns: Histogram = field(default_factory=lambda: Histogram(_DURATION_BOUNDS_NS))
    request: Tally = field(default_factory=lambda: Tally(SIZE_BOUNDS))
    response: Tally = field(default_factory=lambda: Tally(SIZE_BOUNDS))
    retries: int = 0
    errors: int = 0


@dataclass(frozen=True, slots=True)
class Stream:
    """The attributes of one series of points."""

    service: str
    operation: str
    protocol: str
    publish: bool

    def attributes(self, *, operation: bool = True) -> dict[str, protobuf.Value]:
        said: dict[str, protobuf.Value] = {"target.service": self.service}
        if operation:
            said["rpc.method"] = self.operation
        said["rpc.protocol"] = self.protocol
        if self.publish:
            said["hopbench.mode"] = "publish"
        return said


Sum = int
Point = tuple[dict[str, protobuf.Value], Histogram | Sum]


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric of an export: points in the order of the topology."""

    name: str
    unit: str
    kind: Literal["histogram", "sum"]
    points: tuple[Point, ...]


class Metrics:
    """Accumulates records of one service replica. Times are monotonic ns of its clock."""

    def __init__(self, topology: Topology, start_ns: int) -> None:
        self._start_ns = start_ns
        self._calls: dict[Stream, Calls] = {}
        self._handled: dict[Stream, Tally] = {}
        self._topology = topology
        self._calls_of_site: list[Calls | None] = [None] * len(topology.wires)
        self._handled_of_site: dict[tuple[int, int, int | str], Tally] = {}

    def take(self, records: Iterable[Record]) -> None:
        by_site = self._calls_of_site
        for record in records:
            kind, site, _, _, _, _, start, end, status, sent, got, attempt, _, _, _, _, _ = record
            if kind in (CLIENT, PRODUCER):
                calls = by_site[site] or self._open(site)
                lasted = end - start
                duration = calls.duration_ns
                duration.buckets[bisect_left(_DURATION_BOUNDS_NS, lasted)] += 1
                duration.count += 1
                duration.sum += lasted
                if lasted < duration.min:  # noqa: PLR1730  # three times the speed of min()
                    duration.min = lasted
                if lasted > duration.max:  # noqa: PLR1730
                    duration.max = lasted
                sizes = calls.request.values
                sizes[sent] = sizes.get(sent, 0) + 1
                sizes = calls.response.values
                sizes[got] = sizes.get(got, 0) + 1
                if attempt:
                    calls.retries += 1
                if status:
                    calls.errors += 1
            elif kind != INTERNAL:
                place = (kind, site, record[PEER])
                tally = self._handled_of_site.get(place) or self._open_handled(place)
                made = record[CALLS]
                tally.values[made] = tally.values.get(made, 0) + 1
        self._spill()

    def _open(self, site: int) -> Calls:
        wire_ = self._topology.wires[site]
        stream = Stream(wire_.callee, wire_.operation, wire_.protocol, wire_.mode == "publish")
        found = self._calls.setdefault(stream, Calls())
        self._calls_of_site[site] = found
        return found

    def _open_handled(self, place: tuple[int, int, int | str]) -> Tally:
        kind, site, protocol = place
        target = self._topology.operations[site]
        stream = Stream(target.service, target.operation, str(protocol), kind == CONSUMER)
        found = self._handled.setdefault(stream, Tally(CALLS_BOUNDS))
        self._handled_of_site[place] = found
        return found

    def _spill(self) -> None:
        for calls in self._calls.values():
            for tally in (calls.request, calls.response):
                if len(tally.values) > _SPILL:
                    tally.fold()

    def collect(self, now_ns: int) -> Collected | None:
        """What was accumulated since the last call, which is then forgotten; None where nothing."""
        calls, handled, start = self._calls, self._handled, self._start_ns
        self._calls, self._handled, self._start_ns = {}, {}, now_ns
        self._calls_of_site = [None] * len(self._topology.wires)
        self._handled_of_site = {}
        if not calls and not handled:
            return None
        return Collected(start, now_ns, calls, handled)


@dataclass(frozen=True, slots=True)
class Collected:
    """One export's worth. ``start_ns`` and ``end_ns`` are monotonic."""

    start_ns: int
    end_ns: int
    calls: dict[Stream, Calls]
    handled: dict[Stream, Tally]

    def metrics(self) -> Iterator[Metric]:
        """Lazily, so that an encoder may yield between two."""
        calls = self.calls
        durations = {stream: _milliseconds(of.duration_ns) for stream, of in calls.items()}
        yield _histograms(
            "service.call.duration",
            "ms",
            ((stream.attributes(), duration) for stream, duration in durations.items()),
        )
        yield _histograms("service.call.payload_size", "By", self._payloads())
        yield _sums(
            "service.call.retries",
            "{attempt}",
            ((stream.attributes(), of.retries) for stream, of in calls.items()),
        )
        yield _histograms(
            "service.calls_per_request",
            "{call}",
            ((stream.attributes(), tally.fold()) for stream, tally in self.handled.items()),
        )
        totals: dict[tuple[str, str, bool], tuple[Stream, Histogram, list[int]]] = {}
        for stream, of in calls.items():
            _, duration, errors = totals.setdefault(
                (stream.protocol, stream.service, stream.publish),
                (stream, Histogram(DURATION_BOUNDS_MS), [0]),
            )
            duration.merge(durations[stream])
            errors[0] += of.errors
        protocols = [
            (stream.attributes(operation=False), duration, errors[0])
            for stream, duration, errors in totals.values()
        ]
        yield _histograms(
            "protocol.call.duration", "ms", ((said, duration) for said, duration, _ in protocols)
        )
        yield _sums(
            "protocol.call.count",
            "{call}",
            ((said, duration.count) for said, duration, _ in protocols),
        )
        yield _sums(
            "protocol.call.errors", "{call}", ((said, errors) for said, _, errors in protocols)
        )

    def _payloads(self) -> Iterator[Point]:
        for stream, of in self.calls.items():
            said = stream.attributes()
            yield {**said, "direction": "request"}, of.request.fold()
            if not stream.publish:
                yield {**said, "direction": "response"}, of.response.fold()


def _histograms(name: str, unit: str, points: Iterable[Point]) -> Metric:
    return Metric(name, unit, "histogram", tuple(points))


def _sums(name: str, unit: str, points: Iterable[Point]) -> Metric:
    return Metric(name, unit, "sum", tuple(points))


def _milliseconds(ns: Histogram) -> Histogram:
    return Histogram(
        DURATION_BOUNDS_MS, ns.buckets, ns.count, ns.sum / 1e6, ns.min / 1e6, ns.max / 1e6
    )


def encode_metric(metric: Metric, start_unix_ns: int, end_unix_ns: int) -> bytes:
    """One ``ScopeMetrics.metrics`` field, empty for a metric without points."""
    if not metric.points:
        return b""
    times = protobuf.fixed64(2, start_unix_ns) + protobuf.fixed64(3, end_unix_ns)
    points = []
    for attributes, value in metric.points:
        if isinstance(value, Histogram):
            body = protobuf.attributes(9, attributes) + times + _histogram(value)
        else:
            body = protobuf.attributes(7, attributes) + times + protobuf.fixed64(6, value)
        points.append(protobuf.delimited(1, body))
    data = b"".join(points) + _DELTA
    head = protobuf.text(1, metric.name) + protobuf.text(3, metric.unit)
    if metric.kind == "histogram":
        return protobuf.delimited(2, head + protobuf.delimited(9, data))
    return protobuf.delimited(2, head + protobuf.delimited(7, data + _MONOTONIC))


def _histogram(of: Histogram) -> bytes:
    bounds, buckets = len(of.bounds), len(of.buckets)
    body = (
        protobuf.fixed64(4, of.count)
        + protobuf.double(5, of.sum)
        + protobuf.delimited(6, struct.pack(f"<{buckets}Q", *of.buckets))
        + protobuf.delimited(7, struct.pack(f"<{bounds}d", *of.bounds))
    )
    return body + protobuf.double(11, of.min) + protobuf.double(12, of.max) if of.count else body


def metrics_request(resource_field: bytes, fields: Sequence[bytes]) -> bytes:
    """An ``ExportMetricsServiceRequest`` of encoded metrics."""
    return protobuf.export_request(resource_field, _SCOPE, [field for field in fields if field])


def encode_metrics(
    topology: Topology,
    records: Iterable[Record],
    resource: protobuf.Attributes,
    offset_ns: int,
    *,
    start_ns: int,
    end_ns: int,
) -> bytes | None:
    """An ``ExportMetricsServiceRequest`` over all records of one service replica; None where there
    are none."""
    metrics = Metrics(topology, start_ns)
    metrics.take(records)
    collected = metrics.collect(end_ns)
    if collected is None:
        return None
    start, end = start_ns + offset_ns, end_ns + offset_ns
    fields = [encode_metric(metric, start, end) for metric in collected.metrics()]
    return metrics_request(protobuf.resource(resource), fields)
