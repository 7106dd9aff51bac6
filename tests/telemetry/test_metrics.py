"""The seven metrics: what is counted where, and that the bytes say so."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics as official
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import HistogramDataPoint, NumberDataPoint
from opentelemetry.sdk.metrics import export as sdk
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from services.telemetry.metrics import (
    DURATION_BOUNDS_MS,
    Histogram,
    Metric,
    Metrics,
    Tally,
    encode_metrics,
)
from services.telemetry.records import Record
from services.wire.ports import Status, Wire
from tests.telemetry.build import (
    GRPC,
    HTTP,
    OFFSET_NS,
    PUBLISHED,
    SHOP,
    calling,
    fanning,
    said_by,
    serving,
)

MS = 1_000_000
RESOURCE = {"service.name": "order"}
_HTTP = {"target.service": "inventory", "rpc.method": "reserve", "rpc.protocol": "http"}
_AUDIT = {"target.service": "audit", "rpc.protocol": "kafka", "hopbench.mode": "publish"}

RECORDS: list[Record] = [
    calling(HTTP, start=0, end=2 * MS),
    calling(HTTP, start=0, end=4 * MS, status=Status.TIMEOUT, sampled=False, sizes=(300, 0)),
    calling(HTTP, start=0, end=6 * MS, attempt=1),
    calling(GRPC, start=0, end=MS),
    calling(PUBLISHED, start=0, end=MS),
    serving(HTTP, calls=2),
    serving(HTTP, calls=4, sampled=False),
    fanning(),
]


def points(records: list[Record]) -> dict[str, list[tuple[dict[str, Any], Any]]]:
    metrics = Metrics(SHOP, 0)
    metrics.take(records)
    collected = metrics.collect(9 * MS)
    assert collected is not None
    return {metric.name: list(metric.points) for metric in collected.metrics()}


def numbers(of: Histogram) -> tuple[float, float, float, float]:
    return of.count, of.sum, of.min, of.max


def test_durations_are_per_attempt_and_see_unsampled_requests() -> None:
    found = points(RECORDS)["service.call.duration"]
    said, value = found[0]
    assert (said, numbers(value)) == (_HTTP, (3, 12.0, 2.0, 6.0))
    assert len(found) == 3


def test_payloads_have_a_direction_and_a_publish_has_no_response() -> None:
    found = [
        (said["target.service"], said["direction"], numbers(value))
        for said, value in points(RECORDS)["service.call.payload_size"]
    ]
    assert found == [
        ("inventory", "request", (3, 500, 100, 300)),
        ("inventory", "response", (3, 400, 0, 200)),
        ("price-book", "request", (1, 100, 100, 100)),
        ("price-book", "response", (1, 200, 200, 200)),
        ("audit", "request", (1, 100, 100, 100)),
    ]


def test_retries_count_attempts_after_the_first() -> None:
    found = points(RECORDS)["service.call.retries"]
    assert [value for _, value in found] == [1, 0, 0]


def test_calls_per_request_are_of_the_handling_service() -> None:
    ((said, value),) = points(RECORDS)["service.calls_per_request"]
    assert said == _HTTP
    assert numbers(value) == (2, 6, 2, 4)


def test_protocol_metrics_sum_over_operations() -> None:
    found = points(RECORDS)
    said = {"target.service": "inventory", "rpc.protocol": "http"}
    assert found["protocol.call.count"][0] == (said, 3)
    assert found["protocol.call.errors"][0] == (said, 1)
    assert numbers(found["protocol.call.duration"][0][1]) == (3, 12.0, 2.0, 6.0)
    assert found["protocol.call.count"][2] == (_AUDIT, 1)


def test_what_was_collected_is_not_collected_again() -> None:
    metrics = Metrics(SHOP, 0)
    assert metrics.collect(1) is None
    metrics.take(RECORDS)
    first = metrics.collect(2)
    metrics.take(RECORDS[:1])
    second = metrics.collect(3)
    assert first is not None
    assert second is not None
    assert (first.start_ns, first.end_ns, second.start_ns) == (1, 2, 2)
    assert [of.duration_ns.count for of in second.calls.values()] == [1]


@given(st.lists(st.integers(0, 20_000 * MS), min_size=1))
def test_a_histogram_holds_every_value_in_the_bucket_of_its_bound(durations: list[int]) -> None:
    records = [calling(HTTP, start=0, end=lasted) for lasted in durations]
    ((_, value),) = points(records)["service.call.duration"]
    assert sum(value.buckets) == value.count == len(durations)
    for i, bound in enumerate(DURATION_BOUNDS_MS):
        within = sum(lasted <= bound * MS for lasted in durations)
        assert sum(value.buckets[: i + 1]) == within


@given(st.lists(st.integers(0, 1 << 30), min_size=1), st.integers(1, 9))
def test_a_tally_folds_to_the_histogram_of_its_values(sizes: list[int], every: int) -> None:
    tally, plain = Tally((10.0, 1000.0)), Histogram((10.0, 1000.0))
    for i, size in enumerate(sizes):
        tally.values[size] = tally.values.get(size, 0) + 1
        plain.add(size)
        if i % every == 0:
            tally.fold()
    assert tally.fold() == plain


def _sdk_metric(metric: Metric) -> sdk.Metric:
    start, end = OFFSET_NS, OFFSET_NS + 9 * MS
    delta = sdk.AggregationTemporality.DELTA
    if metric.kind == "sum":
        numbers = [
            sdk.NumberDataPoint(said, start, end, value)
            for said, value in metric.points
            if isinstance(value, int)
        ]
        data: sdk.Sum | sdk.Histogram = sdk.Sum(numbers, delta, is_monotonic=True)
    else:
        data = sdk.Histogram(
            [
                sdk.HistogramDataPoint(
                    attributes=said,
                    start_time_unix_nano=start,
                    time_unix_nano=end,
                    count=value.count,
                    sum=value.sum,
                    bucket_counts=value.buckets,
                    explicit_bounds=value.bounds,
                    min=value.min,
                    max=value.max,
                )
                for said, value in metric.points
                if isinstance(value, Histogram)
            ],
            delta,
        )
    return sdk.Metric(metric.name, "", metric.unit, data)


def test_the_bytes_are_what_the_official_encoder_makes_of_the_same_points() -> None:
    metrics = Metrics(SHOP, 0)
    metrics.take(RECORDS)
    collected = metrics.collect(9 * MS)
    assert collected is not None
    theirs = official(
        sdk.MetricsData(
            [
                sdk.ResourceMetrics(
                    Resource(RESOURCE),
                    [
                        sdk.ScopeMetrics(
                            InstrumentationScope("hopbench.services"),
                            [_sdk_metric(metric) for metric in collected.metrics()],
                            "",
                        )
                    ],
                    "",
                )
            ]
        )
    )
    ours = ExportMetricsServiceRequest.FromString(
        encode_metrics(SHOP, RECORDS, RESOURCE, OFFSET_NS, start_ns=0, end_ns=9 * MS) or b""
    )
    assert ours == theirs
    assert len(ours.resource_metrics[0].scope_metrics[0].metrics) == 7


def test_no_records_make_no_request() -> None:
    assert encode_metrics(SHOP, [], RESOURCE, 0, start_ns=0, end_ns=1) is None


@pytest.mark.parametrize("wire", [HTTP, PUBLISHED])
def test_every_point_names_its_target_and_protocol(wire: Wire) -> None:
    request = encode_metrics(SHOP, [calling(wire)], RESOURCE, 0, start_ns=0, end_ns=1)
    decoded = ExportMetricsServiceRequest.FromString(request or b"")
    for metric in decoded.resource_metrics[0].scope_metrics[0].metrics:
        found: list[HistogramDataPoint | NumberDataPoint] = [
            *metric.histogram.data_points, *metric.sum.data_points
        ]  # fmt: skip
        for point in found:
            said = said_by(point.attributes)
            assert said["target.service"] == wire.callee
            assert said["rpc.protocol"] == wire.protocol


def test_a_histogram_is_what_it_is_made_of() -> None:
    made = Histogram((1.0, 2.0), [3, 0, 4], count=7, sum=30.5, min=0.5, max=9.0)
    assert (made.buckets, *numbers(made)) == ([3, 0, 4], 7, 30.5, 0.5, 9.0)
    assert Histogram((1.0, 2.0)).buckets == [0, 0, 0]
