from __future__ import annotations

import base64
import gzip
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import MetricsData
from opentelemetry.proto.trace.v1 import trace_pb2
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from analysis.reading.formats.content import uncompressed
from analysis.reading.inputs import Read, read, read_spools
from analysis.reading.recorder import Unreadable
from analysis.spans.table import Kind, SpanTable, Status
from services.errors import BadInput
from tests.analysis.build import written

TRACE, ROOT, CHILD = "0af7651916cd43dd8448eb211c80319c", "00f067aa0ba902b7", "b7ad6b7169203331"


def otlp(*, trace: str = TRACE) -> TracesData:
    """gateway serves 1..9 µs, and calls from 2 to 5 µs."""
    data = TracesData()
    group = data.resource_spans.add()
    group.resource.attributes.add(key="service.name").value.string_value = "gateway"
    group.resource.attributes.add(key="service.instance.id").value.string_value = "gateway/0"
    spans = group.scope_spans.add().spans
    spans.add(
        trace_id=bytes.fromhex(trace),
        span_id=bytes.fromhex(ROOT),
        name="POST /buy",
        kind=Kind.SERVER,
        start_time_unix_nano=1000,
        end_time_unix_nano=9000,
    )
    child = spans.add(
        trace_id=bytes.fromhex(trace),
        span_id=bytes.fromhex(CHILD),
        parent_span_id=bytes.fromhex(ROOT),
        name="POST",
        kind=Kind.CLIENT,
        start_time_unix_nano=2000,
        end_time_unix_nano=5000,
    )
    child.status.code = trace_pb2.Status.STATUS_CODE_ERROR
    child.attributes.add(key="http.request.method").value.string_value = "POST"
    child.attributes.add(key="url.full").value.string_value = "http://order/create/7?b=1&a=2"
    child.attributes.add(key="http.request.body.size").value.int_value = 300
    child.attributes.add(key="sampled").value.bool_value = True
    child.attributes.add(key="share").value.double_value = 0.5
    child.links.add(trace_id=bytes.fromhex(trace), span_id=bytes.fromhex(ROOT))
    return data


def otlp_json(*, ids: Callable[[str], str] = str, scopes: str = "scopeSpans") -> dict[str, Any]:
    """The same, as JSON; zero values left out."""
    server = {
        "traceId": ids(TRACE),
        "spanId": ids(ROOT),
        "name": "POST /buy",
        "kind": 2,
        "startTimeUnixNano": "1000",
        "endTimeUnixNano": 9000,
    }
    client = {
        "traceId": ids(TRACE),
        "spanId": ids(CHILD),
        "parentSpanId": ids(ROOT),
        "name": "POST",
        "kind": "SPAN_KIND_CLIENT",
        "startTimeUnixNano": 2000,
        "endTimeUnixNano": "5000",
        "status": {"code": "STATUS_CODE_ERROR"},
        "attributes": [
            {"key": "http.request.method", "value": {"stringValue": "POST"}},
            {"key": "url.full", "value": {"stringValue": "http://order/create/7?b=1&a=2"}},
            {"key": "http.request.body.size", "value": {"intValue": "300"}},
            {"key": "sampled", "value": {"boolValue": True}},
            {"key": "share", "value": {"doubleValue": 0.5}},
        ],
        "links": [{"traceId": ids(TRACE), "spanId": ids(ROOT)}],
    }
    resource = {
        "attributes": [
            {"key": "service.name", "value": {"stringValue": "gateway"}},
            {"key": "service.instance.id", "value": {"stringValue": "gateway/0"}},
        ]
    }
    return {"resourceSpans": [{"resource": resource, scopes: [{"spans": [server, client]}]}]}


def framed(*requests: bytes) -> bytes:
    return b"".join(len(r).to_bytes(4, "big") + r for r in requests)


def zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as out:
        out.write(data)
    packed: bytes = sink.getvalue().to_pybytes()
    return packed


def base64_of(digits: str) -> str:
    return base64.b64encode(bytes.fromhex(digits)).decode()


BINARY, DOCUMENT = otlp().SerializeToString(), otlp_json()
SAME = {
    "protobuf": BINARY,
    "protobuf, length-prefixed": framed(BINARY),
    "protobuf, gzip": gzip.compress(BINARY),
    "protobuf, length-prefixed, zstd": zstd(framed(BINARY)),
    "JSON": orjson.dumps(DOCUMENT),
    "JSON, indented": orjson.dumps(DOCUMENT, option=orjson.OPT_INDENT_2),
    "JSON, gzip of two members": gzip.compress(orjson.dumps(DOCUMENT)[:50])
    + gzip.compress(orjson.dumps(DOCUMENT)[50:]),
    "JSON, upper-case ids": orjson.dumps(otlp_json(ids=str.upper)),
    "JSON, older name of scopes": orjson.dumps(otlp_json(scopes="instrumentationLibrarySpans")),
    "JSON lines among metrics": b'{"resourceMetrics":[]}\n' + orjson.dumps(DOCUMENT) + b"\n\n",
    "Jaeger API v3": orjson.dumps({"result": DOCUMENT}),
    "Tempo v1, base64 ids": orjson.dumps({"batches": otlp_json(ids=base64_of)["resourceSpans"]}),
    "Tempo v2": orjson.dumps({"trace": DOCUMENT}),
}


def told(table: SpanTable) -> list[dict[str, object]]:
    """What matters of each span, as text and numbers."""
    return [
        {
            "service": table.name(int(table.service[row])),
            "instance": table.name(int(table.instance[row])),
            "operation": table.name(int(table.operation[row])),
            "peer": table.name(int(table.peer[row])),
            "protocol": table.name(int(table.protocol[row])),
            "kind": Kind(int(table.kind[row])).name,
            "status": Status(int(table.status[row])).name,
            "parent": int(table.parent[row]),
            "times": (int(table.start[row]), int(table.end[row])),
            "bytes": int(table.messages.request_bytes[row]),
            "key": table.name(int(table.messages.key[row])),
        }
        for row in range(len(table))
    ]


EXPECTED = [
    {
        "service": "gateway",
        "instance": "gateway/0",
        "operation": "POST /buy",
        "peer": None,
        "protocol": None,
        "kind": "SERVER",
        "status": "UNSET",
        "parent": -1,
        "times": (1000, 9000),
        "bytes": -1,
        "key": None,
    },
    {
        "service": "gateway",
        "instance": "gateway/0",
        "operation": "POST /create/*?a=*&b=*",
        "peer": "order",
        "protocol": "http",
        "kind": "CLIENT",
        "status": "ERROR",
        "parent": 0,
        "times": (2000, 5000),
        "bytes": 300,
        "key": "7/b=1&a=2",
    },
]


def of(tmp_path: Path, data: bytes, name: str = "any.thing") -> Read:
    path = tmp_path / name
    path.write_bytes(data)
    return read([path])


@pytest.mark.parametrize("form", SAME)
def test_every_form_of_otlp_reads_the_same(form: str, tmp_path: Path) -> None:
    found = of(tmp_path, SAME[form])
    assert told(found.spans) == EXPECTED
    assert found.skipped == ()
    assert found.spans.links.target.tolist() == [0]


def test_attributes_keep_what_they_say_as_text(tmp_path: Path) -> None:
    said = of(tmp_path, BINARY).spans.attributes
    assert said.values.gather(said.value).to_list() == [
        "POST",
        "http://order/create/7?b=1&a=2",
        "300",
        "true",
        "0.5",
    ]


def test_ids_are_told_as_the_input_spells_them(tmp_path: Path) -> None:
    upper = of(tmp_path, SAME["JSON, upper-case ids"]).spans
    assert (upper.trace_ids[0], upper.span_id(1)) == (TRACE.upper(), CHILD.upper())
    tempo = of(tmp_path, SAME["Tempo v1, base64 ids"]).spans
    assert tempo.trace_ids[0] == base64_of(TRACE)


def test_one_trace_may_be_spread_over_files_of_different_forms(tmp_path: Path) -> None:
    data = otlp()
    del data.resource_spans[0].scope_spans[0].spans[0]
    rest = otlp_json(ids=str.upper)
    del rest["resourceSpans"][0]["scopeSpans"][0]["spans"][1]
    (tmp_path / "a").write_bytes(data.SerializeToString())
    (tmp_path / "b").write_bytes(orjson.dumps(rest))
    spans = read([tmp_path / "a", tmp_path / "b"]).spans
    assert (len(spans), spans.traces) == (2, 1)
    assert spans.parent.tolist() == [1, -1]


def jaeger(**change: object) -> dict[str, Any]:
    span: dict[str, Any] = {
        "traceID": "a1",
        "spanID": "b2",
        "operationName": "GET",
        "references": [
            {"refType": "FOLLOWS_FROM", "traceID": "a1", "spanID": "f0"},
            {"refType": "CHILD_OF", "traceID": "ff", "spanID": "c3"},
            {"refType": "CHILD_OF", "traceID": "a1", "spanID": "c3", "span": {"huge": 1}},
        ],
        "startTime": 10,
        "duration": "5",
        "processID": "p1",
        "tags": [
            {"key": "span.kind", "type": "string", "value": "client"},
            {"key": "error", "type": "bool", "value": True},
            {"key": "big", "type": "int64", "value": "9223372036854775807"},
        ],
    }
    parent = {**span, "spanID": "c3", "references": [], "tags": []}
    return {
        "data": [
            {
                "traceID": "a1",
                "spans": [parent, {**span, **change}],
                "processes": {"p1": {"serviceName": "shop", "tags": []}},
            }
        ]
    }


def test_jaegers_parent_is_the_first_child_of_reference_within_the_trace(tmp_path: Path) -> None:
    spans = of(tmp_path, orjson.dumps(jaeger())).spans
    assert told(spans)[1] == {
        "service": "shop",
        "instance": None,
        "operation": "GET",
        "peer": None,
        "protocol": None,
        "kind": "CLIENT",
        "status": "UNSET",
        "parent": 0,
        "times": (10_000, 15_000),
        "bytes": -1,
        "key": None,
    }
    assert spans.flags.tolist() == [0, 32]
    assert spans.span_id(1) == "00000000000000b2"


def test_without_child_of_jaegers_parent_is_what_it_follows_from(tmp_path: Path) -> None:
    references = [{"refType": "FOLLOWS_FROM", "traceID": "a1", "spanID": "c3"}]
    spans = of(tmp_path, orjson.dumps(jaeger(references=references))).spans
    assert spans.parent.tolist() == [-1, 0]
    assert spans.flags[1] & 8
    assert spans.flags[1] & 64


def zipkin() -> list[dict[str, Any]]:
    """One call: client and server share an id, and the server calls a database."""
    return [
        {
            "traceId": "a1",
            "id": "b2",
            "name": "get",
            "kind": "CLIENT",
            "timestamp": 10,
            "duration": 50,
            "localEndpoint": {"serviceName": "front"},
        },
        {
            "traceId": "a1",
            "id": "b2",
            "name": "get /x",
            "kind": "SERVER",
            "timestamp": 20,
            "duration": 30,
            "shared": True,
            "localEndpoint": {"serviceName": "back"},
            "tags": {"http.method": "GET", "http.path": "/x"},
        },
        {
            "traceId": "a1",
            "id": "c3",
            "parentId": "b2",
            "name": "query",
            "kind": "CLIENT",
            "timestamp": 25,
            "duration": 0,
            "localEndpoint": {"serviceName": "back"},
            "remoteEndpoint": {"serviceName": "db"},
        },
        {"traceId": "a1", "id": "d4", "name": "lost", "localEndpoint": {"serviceName": "back"}},
    ]


@pytest.mark.parametrize("nested", [False, True])
def test_zipkins_shared_id_is_split_and_children_go_to_the_server(
    nested: bool, tmp_path: Path
) -> None:
    found = of(tmp_path, orjson.dumps([zipkin()] if nested else zipkin()))
    spans = found.spans
    assert spans.parent.tolist() == [-1, 0, 1]
    assert spans.span_id(1) == "00000000000000b2/server"
    assert int(spans.duration[2]) == 1000
    assert spans.name(int(spans.peer[2])) == "db"
    assert found.repairs["shared"] == 1
    assert [s.reason for s in found.skipped] == ["span 3: no timestamp"]


# -- bad input -------------------------------------------------------------------------------


def broken(change: Callable[[Any], object]) -> bytes:
    data = otlp()
    change(data.resource_spans[0].scope_spans[0].spans[1])
    return data.SerializeToString()


def json_broken(**change: object) -> bytes:
    document = otlp_json()
    document["resourceSpans"][0]["scopeSpans"][0]["spans"][1].update(change)
    return orjson.dumps(document)


def json_span(span: object) -> bytes:
    document = otlp_json()
    document["resourceSpans"][0]["scopeSpans"][0]["spans"][1] = span
    return orjson.dumps(document)


def jaeger_broken(**change: object) -> bytes:
    return orjson.dumps(jaeger(**change))


MALFORMED = {
    "protobuf: a short id": (broken(lambda s: setattr(s, "span_id", b"12")), "no trace id"),
    "protobuf: ends before it starts": (
        broken(lambda s: setattr(s, "end_time_unix_nano", 1)),
        "ends before it starts",
    ),
    "protobuf: after the year 2262": (
        broken(lambda s: setattr(s, "end_time_unix_nano", 2**64 - 1)),
        "a time outside",
    ),
    "JSON: no id": (json_broken(spanId=None), "no traceId and spanId"),
    "JSON: time as words": (json_broken(startTimeUnixNano="noon"), "'noon' is no integer"),
    "JSON: an unknown kind": (json_broken(kind="SPAN_KIND_ODD"), "unknown kind 'SPAN_KIND_ODD'"),
    "JSON: attributes as an object": (json_broken(attributes={"a": 1}), "no list"),
    "Jaeger: no start": (jaeger_broken(startTime=None), "startTime None is no integer"),
    "Jaeger: an unknown process": (jaeger_broken(processID="p9"), "unknown process 'p9'"),
    "Jaeger: negative duration": (jaeger_broken(duration=-1), "a negative duration"),
    "Jaeger: no ids": (jaeger_broken(spanID=7), "no traceID and spanID"),
    "Jaeger: references that are none": (jaeger_broken(references=True), "no list"),
    "Jaeger: a tag without a key": (jaeger_broken(tags=[{"value": 1}]), "a tag without a key"),
    "JSON: a status in words": (json_broken(status="ERROR"), "a status that is no object"),
    "JSON: links that are none": (json_broken(links=7), "no list"),
    "JSON: a link that is none": (json_broken(links=[7]), "a link that is no object"),
    "JSON: no span": (json_span(None), "no traceId and spanId"),
    "JSON: an array of nothing": (
        json_broken(attributes=[{"key": "a", "value": {"arrayValue": [1]}}]),
        "an array that is no object",
    ),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_one_malformed_span_is_skipped_with_its_reason(case: str, tmp_path: Path) -> None:
    data, reason = MALFORMED[case]
    found = of(tmp_path, data)
    assert len(found.spans) == 1
    (skipped,) = found.skipped
    assert reason in skipped.reason
    assert skipped.file == str(tmp_path / "any.thing")
    assert skipped.offset is not None


def test_a_broken_attribute_breaks_its_span_alone(tmp_path: Path) -> None:
    # An attribute whose value claims more bytes than there are, within a sound span.
    found = of(
        tmp_path, BINARY.replace(b"\n\x07sampled\x12\x02\x10\x01", b"\n\x07sampled\x12\x09\x10\x01")
    )
    assert len(found.spans) == 1
    assert [s.reason for s in found.skipped] == ["a broken attribute"]


def test_a_line_that_is_no_json_is_skipped_at_its_offset(tmp_path: Path) -> None:
    line = orjson.dumps(DOCUMENT) + b"\n"
    found = of(tmp_path, line + b'{"resourceSpans":[{"resou\n')
    assert told(found.spans) == EXPECTED
    assert [s.offset for s in found.skipped] == [len(line)]


@pytest.mark.parametrize("kept", [1, 3, 4, 9, 200])
def test_a_spool_that_breaks_off_is_read_up_to_there(kept: int, tmp_path: Path) -> None:
    whole = framed(BINARY)
    found = of(tmp_path, whole + framed(otlp(trace="1" * 32).SerializeToString())[:kept])
    assert told(found.spans) == EXPECTED
    assert [(s.offset, s.reason) for s in found.skipped] == [
        (len(whole), "the last request breaks off")
    ]


UNREADABLE = {
    "empty": (b"", "empty"),
    "blank": (b" \n ", "empty"),
    "binary": (bytes(range(256)), "no known trace format"),
    "text": (b"hello", "no known trace format"),
    "JSON of something else": (b'{"a": 1}', "no known trace format"),
    "zeros": (bytes(1_000_000), "no known trace format"),
    "JSON cut off": (orjson.dumps(DOCUMENT)[:-9], "unexpected end of data at byte"),
    "JSON over several lines, cut off": (
        (pretty := orjson.dumps(DOCUMENT, option=orjson.OPT_INDENT_2)[:-9]),
        f"unexpected end of data at byte {len(pretty)}",
    ),
    "JSON with a number that is none": (b'{"resourceSpans": [NaN]}', "not JSON"),
    "JSON: a resource that is none": (b'{"resourceSpans": [{"resource": 7}]}', "no object at byte"),
    "JSON: spans that are none": (
        b'{"resourceSpans": [{"scopeSpans": [{"spans": true}]}]}',
        "spans that are no list at byte",
    ),
    "Jaeger: processes that are none": (
        b'{"data": [{"spans": [], "processes": "p1"}]}',
        "a table of processes that is no object at byte",
    ),
    "gzip cut off": (gzip.compress(BINARY)[:-12], "the gzip data breaks off at byte"),
    "zstd cut off": (zstd(BINARY)[:-6], "broken zstd data"),
    "Parquet of something else": (b"PAR1", "not a Parquet file"),
    "a request broken in the middle of a spool": (
        framed(BINARY, b"\x0a\xff\xff"),
        f"not a protobuf export request: Error parsing message at byte {len(BINARY) + 8}",
    ),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_an_unreadable_file_is_an_error_with_file_and_place(case: str, tmp_path: Path) -> None:
    data, reason = UNREADABLE[case]
    with pytest.raises(BadInput) as raised:
        of(tmp_path, data)
    assert reason.partition(": Error")[0] in raised.value.text
    assert raised.value.file == str(tmp_path / "any.thing")


@pytest.mark.parametrize("pack", [gzip.compress, zstd])
def test_a_compressed_bomb_is_refused_before_it_fills_the_memory(
    pack: Callable[[bytes], bytes],
) -> None:
    with pytest.raises(Unreadable, match="more than 3 MiB when uncompressed"):
        uncompressed(pack(bytes(3 * 2**20 + 1)), largest=3 * 2**20)


def test_a_byte_order_mark_is_no_part_of_the_content(tmp_path: Path) -> None:
    assert told(of(tmp_path, b"\xef\xbb\xbf" + orjson.dumps(DOCUMENT)).spans) == EXPECTED


@pytest.mark.parametrize("answer", [b"[]", b'{"data": []}', b'{"resourceSpans": []}'])
def test_an_answer_without_traces_is_no_error(answer: bytes, tmp_path: Path) -> None:
    assert len(of(tmp_path, answer).spans) == 0


def test_metrics_are_no_traces(tmp_path: Path) -> None:
    metrics = MetricsData()
    scope = metrics.resource_metrics.add().scope_metrics.add()
    scope.metrics.add(name="service.calls_per", description="8 bytes!").gauge.data_points.add()
    with pytest.raises(BadInput):
        of(tmp_path, metrics.SerializeToString())


# -- directories -----------------------------------------------------------------------------


def test_a_directory_is_searched_by_content(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "traces.otlp").write_bytes(framed(BINARY))
    (tmp_path / "notes.txt").write_text("no traces here")
    (tmp_path / ".hidden").write_bytes(BINARY)
    os.mkfifo(tmp_path / "pipe")  # which nobody will ever write to
    found = read([tmp_path])
    assert found.files == 1
    assert told(found.spans) == EXPECTED


def test_a_directory_without_traces_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(BadInput, match="no traces in this directory"):
        read([tmp_path])


def test_a_trials_table_is_read_instead_of_its_spool(tmp_path: Path) -> None:
    table = of(tmp_path, BINARY).spans
    trial = tmp_path / "trial"
    trial.mkdir()
    (trial / "traces.otlp").write_bytes(framed(BINARY))
    written(table.named(variant="batched", phase=["measured"]), trial / "spans.parquet")
    spans = read([trial]).spans
    assert told(spans) == EXPECTED
    assert {spans.name(int(v)) for v in spans.variant} == {"batched"}


def test_in_a_directory_other_tables_are_passed_over_and_broken_ones_are_not(
    tmp_path: Path,
) -> None:
    written(of(tmp_path, BINARY).spans, tmp_path / "spans.parquet")
    pq.write_table(pa.table({"name": ["a"], "count": [1]}), tmp_path / "metrics.parquet")
    (tmp_path / "any.thing").unlink()
    assert read([tmp_path]).files == 1
    (tmp_path / "spans.parquet").write_bytes((tmp_path / "spans.parquet").read_bytes()[:-20])
    with pytest.raises(BadInput, match="not a Parquet file") as raised:
        read([tmp_path])
    assert raised.value.file == str(tmp_path / "spans.parquet")


def test_an_empty_spool_holds_no_spans(tmp_path: Path) -> None:
    (tmp_path / "traces.otlp").write_bytes(b"")
    assert len(read_spools([tmp_path / "traces.otlp"])) == 0
