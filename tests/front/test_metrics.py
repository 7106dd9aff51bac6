from __future__ import annotations

from pathlib import Path

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_DELTA

from hopbench.collector.spool import open_spool
from hopbench.runs import metrics
from hopbench.runs.metrics import Point, Total
from services.scenario.file.parser import parse_text

ENTRIES = parse_text(
    """
version: 1
services:
  order: {operations: {create: [{sleep: 1ms}]}}
load: {rate: 100/s, entry: order.create}
"""
).load.entries


def request(instance: str, counts: tuple[int, int], total: float, retries: int) -> bytes:
    """One export: calls_per_request of the entry, and a sum."""
    export = ExportMetricsServiceRequest()
    resource = export.resource_metrics.add()
    for key, value in (("service.name", "order"), ("service.instance.id", instance)):
        resource.resource.attributes.add(key=key).value.string_value = value
    scope = resource.scope_metrics.add()
    histogram = scope.metrics.add(name="service.calls_per_request")
    histogram.histogram.aggregation_temporality = AGGREGATION_TEMPORALITY_DELTA
    point = histogram.histogram.data_points.add(
        time_unix_nano=17, count=sum(counts), sum=total, min=0.0, max=total
    )
    point.explicit_bounds.append(1.0)
    point.bucket_counts.extend(counts)
    said = {"target.service": "order", "rpc.method": "create", "rpc.protocol": "http"}
    for key, value in said.items():
        point.attributes.add(key=key).value.string_value = value
    of_sum = scope.metrics.add(name="service.call.retries")
    of_sum.sum.aggregation_temporality = AGGREGATION_TEMPORALITY_DELTA
    number = of_sum.sum.data_points.add(time_unix_nano=17, as_int=retries)
    number.attributes.add(key="target.service").value.string_value = "stock"
    return export.SerializeToString()


def spooled(path: Path, *records: bytes) -> list[Point]:
    spool, _ = open_spool(path)
    for record in records:
        spool.append(record)
    spool.close()
    return list(metrics.read_points(path))


def test_deltas_of_all_replicas_add_up(tmp_path: Path) -> None:
    points = spooled(
        tmp_path / "metrics.otlp",
        request("order/0", (1, 2), 6.0, 1),
        request("order/0", (0, 1), 4.0, 0),
        request("order/1", (2, 0), 2.0, 3),
    )
    assert metrics.handled_at(points, ENTRIES) == 6
    retries, calls = metrics.totals(points)
    assert (retries.name, retries.sum, retries.count) == ("service.call.retries", 4.0, None)
    assert calls == Total(
        name="service.calls_per_request",
        attributes={
            "rpc.method": "create",
            "rpc.protocol": "http",
            "service.name": "order",
            "target.service": "order",
        },
        count=6,
        sum=12.0,
        min=0.0,
        max=6.0,
    )


def test_points_survive_parquet(tmp_path: Path) -> None:
    points = spooled(tmp_path / "metrics.otlp", request("order/0", (1, 2), 6.0, 1))
    with (tmp_path / "metrics.parquet").open("wb") as file:
        metrics.write_parquet(points, file)
    assert metrics.read_parquet(tmp_path / "metrics.parquet") == points
    assert points[0].buckets == ((1.0, 1), (float("inf"), 2))


def test_a_spool_that_broke_off_is_read_to_its_last_whole_record(tmp_path: Path) -> None:
    path = tmp_path / "metrics.otlp"
    record = request("order/0", (1, 2), 6.0, 1)
    whole = spooled(path, record)
    with path.open("ab") as file:
        file.write(b"\x00\x00\x01\x00half")
    assert list(metrics.read_points(path)) == whole
