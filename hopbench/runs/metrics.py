"""Metrics as they arrived over OTLP: a table of points, and their sums over a round.

Points are deltas; counts and sums of one series add up over time, minima and maxima fold. Sums
(``service.call.retries``…) have no count of their own and no extremes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

import pyarrow as pa
import pyarrow.parquet as pq
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AggregationTemporality,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
)

from hopbench.collector.spool import read_spool
from services.scenario.model import Entry

OWN: Final = frozenset(
    {
        "service.call.duration",
        "service.call.payload_size",
        "service.call.retries",
        "service.calls_per_request",
        "protocol.call.duration",
        "protocol.call.count",
        "protocol.call.errors",
    }
)
"""Those that services measure themselves (docs/output.md); a summary leaves others in
metrics.parquet."""
_RESOURCE: Final = ("service.name", "service.instance.id")

SCHEMA: Final = pa.schema(
    [
        pa.field("time", pa.int64(), metadata={"unit": "Unix ns"}),
        pa.field("name", pa.string()),
        pa.field("attributes", pa.map_(pa.string(), pa.string())),
        pa.field("count", pa.int64(), metadata={"meaning": "null for a sum"}),
        pa.field("sum", pa.float64()),
        pa.field("min", pa.float64()),
        pa.field("max", pa.float64()),
        pa.field(
            "buckets",
            pa.list_(pa.struct([("bound", pa.float64()), ("count", pa.int64())])),
            metadata={"meaning": "counts of values ≤ bound; the last bound is +inf"},
        ),
    ]
)


@dataclass(frozen=True, slots=True)
class Point:
    """One delta of one series. ``attributes`` are sorted, the resource's names included."""

    time: int
    name: str
    attributes: tuple[tuple[str, str], ...]
    count: int | None
    sum: float | None
    min: float | None
    max: float | None
    buckets: tuple[tuple[float, int], ...] = ()


def read_points(spool: Path) -> Iterator[Point]:
    """Every point of a spool of export requests; a broken last record is left out."""
    for record in read_spool(spool):
        try:
            request = ExportMetricsServiceRequest.FromString(record)
        except DecodeError:
            # The collector decodes what it accepts, so only a foreign file can hold this.
            continue
        for resource in request.resource_metrics:
            said = {a.key: _text(a.value) for a in resource.resource.attributes}
            of = {key: value for key, value in said.items() if key in _RESOURCE}
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    yield from _points(metric, of)


def _points(metric: Metric, of: Mapping[str, str]) -> Iterator[Point]:
    kind = metric.WhichOneof("data")
    if kind == "histogram":
        if metric.histogram.aggregation_temporality == _DELTA:
            yield from (_histogram(metric.name, of, p) for p in metric.histogram.data_points)
    elif kind == "sum":
        if metric.sum.aggregation_temporality == _DELTA:
            yield from (_number(metric.name, of, p) for p in metric.sum.data_points)
    elif kind == "gauge":
        yield from (_number(metric.name, of, p) for p in metric.gauge.data_points)


_DELTA: Final = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA


def _histogram(name: str, of: Mapping[str, str], point: HistogramDataPoint) -> Point:
    bounds = (*point.explicit_bounds, float("inf"))
    return Point(
        point.time_unix_nano,
        name,
        _attributes(of, point.attributes),
        point.count,
        point.sum,
        point.min if point.HasField("min") else None,
        point.max if point.HasField("max") else None,
        tuple(zip(bounds, point.bucket_counts, strict=False)),
    )


def _number(name: str, of: Mapping[str, str], point: NumberDataPoint) -> Point:
    value = point.as_double if point.HasField("as_double") else float(point.as_int)
    return Point(
        point.time_unix_nano, name, _attributes(of, point.attributes), None, value, None, None
    )


def _attributes(
    of: Mapping[str, str], attributes: Iterable[KeyValue]
) -> tuple[tuple[str, str], ...]:
    return tuple(sorted({**of, **{a.key: _text(a.value) for a in attributes}}.items()))


def _text(value: AnyValue) -> str:
    kind = value.WhichOneof("value")
    if kind is None:
        return ""
    of = getattr(value, kind)
    return str(of).lower() if isinstance(of, bool) else str(of)


def write_parquet(points: Sequence[Point], file: BinaryIO) -> None:
    columns: dict[str, list[Any]] = {
        "time": [p.time for p in points],
        "name": [p.name for p in points],
        "attributes": [list(p.attributes) for p in points],
        "count": [p.count for p in points],
        "sum": [p.sum for p in points],
        "min": [p.min for p in points],
        "max": [p.max for p in points],
        "buckets": [[{"bound": b, "count": c} for b, c in p.buckets] for p in points],
    }
    pq.write_table(pa.table(columns, schema=SCHEMA), file, compression="zstd")


def read_parquet(path: Path) -> list[Point]:
    return [
        Point(
            row["time"],
            row["name"],
            tuple(row["attributes"]),
            row["count"],
            row["sum"],
            row["min"],
            row["max"],
            tuple((b["bound"], b["count"]) for b in row["buckets"]),
        )
        for row in pq.read_table(path, schema=SCHEMA).to_pylist()
    ]


@dataclass(slots=True)
class _Series:
    count: int | None = None
    sum: float | None = None
    extremes: list[float] = field(default_factory=list)

    def add(self, point: Point) -> None:
        if point.count is not None:
            self.count = (self.count or 0) + point.count
        if point.sum is not None:
            self.sum = (self.sum or 0.0) + point.sum
        self.extremes += [v for v in (point.min, point.max) if v is not None]


@dataclass(frozen=True, slots=True)
class Total:
    """One series over a round; ``count``, ``min`` and ``max`` are None for a sum."""

    name: str
    attributes: Mapping[str, str]
    count: int | None
    sum: float | None
    min: float | None
    max: float | None


def totals(points: Iterable[Point]) -> tuple[Total, ...]:
    """Each series over the whole round, the replicas of a service together, in order of name and
    attributes."""
    series: dict[tuple[str, tuple[tuple[str, str], ...]], _Series] = {}
    for point in points:
        if point.name in OWN:
            attributes = tuple(a for a in point.attributes if a[0] != "service.instance.id")
            series.setdefault((point.name, attributes), _Series()).add(point)
    return tuple(
        Total(
            name=name,
            attributes=dict(attributes),
            count=of.count,
            sum=of.sum,
            min=min(of.extremes, default=None),
            max=max(of.extremes, default=None),
        )
        for (name, attributes), of in sorted(series.items())
    )


def handled_at(points: Iterable[Point], entries: Iterable[Entry]) -> int:
    """How many requests the entry operations counted (``service.calls_per_request``)."""
    wanted = {(e.target.service, e.target.operation, e.protocol) for e in entries}
    total = 0
    for point in points:
        if point.name == "service.calls_per_request" and point.count is not None:
            said = dict(point.attributes)
            place = (said.get("target.service"), said.get("rpc.method"), said.get("rpc.protocol"))
            if place in wanted:
                total += point.count
    return total
