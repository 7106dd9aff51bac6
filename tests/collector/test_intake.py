"""The receiver without the network: what is kept, what is counted, what is refused."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import orjson
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from hopbench.collector.otlp import SIGNALS, Junk, TooLarge, inflate, take
from hopbench.collector.server import Intake
from hopbench.collector.spool import open_spool, read_spool

TRACES, METRICS, LOGS = SIGNALS
TRACE = "5b8efff798038103d269b633813fc60c"
SPAN = "eee19b7ec3c1b174"


def spans(*ids: tuple[bytes, bytes]) -> bytes:
    request = ExportTraceServiceRequest()
    scope = request.resource_spans.add().scope_spans.add()
    for trace_id, span_id in ids:
        scope.spans.add(trace_id=trace_id, span_id=span_id, name="x")
    return request.SerializeToString()


GOOD = (b"\1" * 16, b"\2" * 8)


def test_a_protobuf_request_is_kept_byte_for_byte(tmp_path: Path) -> None:
    intake, body = Intake(tmp_path), spans(GOOD, GOOD)
    intake.keep(TRACES, body, "protobuf")
    intake.close()
    assert list(read_spool(tmp_path / "traces.otlp")) == [body]
    assert intake.items["spans"] == 2


def test_json_ids_are_hex_of_either_case_and_unknown_fields_are_ignored() -> None:
    span = {"traceId": TRACE.upper(), "spanId": SPAN, "name": "x", "kind": 3, "novelty": [1]}
    span["links"] = [{"traceId": TRACE, "spanId": SPAN}]
    body = orjson.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]})
    taken = take(TRACES, body, "json")
    kept = ExportTraceServiceRequest.FromString(taken.record).resource_spans[0].scope_spans[0]
    assert kept.spans[0].trace_id.hex() == TRACE
    assert kept.spans[0].links[0].span_id.hex() == SPAN
    assert taken.items == 1


def test_spans_without_valid_ids_are_left_out_and_told() -> None:
    zero, short = (b"\0" * 16, b"\2" * 8), (b"\1" * 16, b"\2")
    taken = take(TRACES, spans(zero, GOOD, short), "protobuf")
    assert (taken.items, taken.rejected) == (1, 2)
    assert taken.record == spans(GOOD)
    response = TRACES.response(taken.rejected, taken.why)
    assert isinstance(response, ExportTraceServiceResponse)
    assert response.partial_success.rejected_spans == 2


def test_metric_points_of_every_kind_are_counted() -> None:
    request = ExportMetricsServiceRequest()
    metrics = request.resource_metrics.add().scope_metrics.add().metrics
    metrics.add(name="a").sum.data_points.add(as_int=1)
    metrics.add(name="b").gauge.data_points.add(as_double=1)
    histogram = metrics.add(name="c").histogram
    histogram.data_points.add(count=1)
    histogram.data_points.add(count=2)
    metrics.add(name="nothing")
    assert take(METRICS, request.SerializeToString(), "protobuf").items == 4


@pytest.mark.parametrize("body", [b"junk", b"[]", b'{"resourceSpans": 1}', b"\xff\xfe"])
def test_what_is_no_json_request_is_junk(body: bytes) -> None:
    with pytest.raises(Junk):
        take(TRACES, body, "json")


def test_an_id_that_is_not_hexadecimal_is_junk_and_named() -> None:
    body = b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"xyz"}]}]}]}'
    with pytest.raises(Junk, match="'xyz' is not hexadecimal"):
        take(TRACES, body, "json")


def test_broken_protobuf_is_junk_however_deep_the_break_is() -> None:
    body = bytearray(spans(GOOD))
    body[-1:] = b"\x80"
    with pytest.raises(Junk):
        take(TRACES, bytes(body) + b"\x0a", "protobuf")


def test_inflate_takes_several_members_and_never_more_than_allowed() -> None:
    assert inflate(gzip.compress(b"ab") + gzip.compress(b"cd"), 4) == b"abcd"
    with pytest.raises(TooLarge):
        inflate(gzip.compress(bytes(1_000_000)), 999_999)
    with pytest.raises(Junk, match="breaks off"):
        inflate(gzip.compress(b"abcd")[:-9], 100)


def test_a_broken_last_record_is_cut_off_before_more_is_appended(tmp_path: Path) -> None:
    path = tmp_path / "traces.otlp"
    spool, lost = open_spool(path)
    assert lost == 0
    spool.append(b"first")
    spool.close()
    path.write_bytes(path.read_bytes() + b"\0\0\0\x09half")
    assert list(read_spool(path)) == [b"first"]
    spool, lost = open_spool(path)
    assert lost == 8
    spool.append(b"second")
    spool.close()
    assert list(read_spool(path)) == [b"first", b"second"]


FULL = """
import resource, sys
from pathlib import Path
from hopbench.collector.server import DiskRefuses, Intake
from hopbench.collector.otlp import SIGNALS
intake = Intake(Path(sys.argv[1]))
body = sys.stdin.buffer.read()
intake.keep(SIGNALS[0], body, "protobuf")
limit = len(body) + 4 + len(body) // 2
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    intake.keep(SIGNALS[0], body, "protobuf")
except DiskRefuses as error:
    print("refused")
print(intake.items["spans"], intake.requests, intake.refused, intake.disk is not None)
"""


def test_a_full_disk_keeps_no_half_record_and_counts_nothing_twice(tmp_path: Path) -> None:
    # A file size limit is the disk that is full, for one process only.
    body = spans(*[GOOD] * 50)
    said = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)],
        input=body,
        capture_output=True,
        check=True,
        timeout=30,
    )
    assert said.stdout.decode().split() == ["refused", "50", "1", "1", "True"]
    assert list(read_spool(tmp_path / "traces.otlp")) == [body]
