"""What a record becomes: name, kind, attributes (semantic conventions)."""

from __future__ import annotations

from typing import Any

import pytest

from services.telemetry.records import Record
from services.telemetry.spans import shape_of, span_shape
from services.wire.ports import Status
from tests.telemetry.build import (
    ASKED,
    GRPC,
    HTTP,
    PUBLISHED,
    SHOP,
    attributes_of,
    calling,
    fanning,
    serving,
)

_ROUTE = {"http.request.method": "POST", "url.template": "/reserve"}
_EDGE = {"hopbench.mode": "call", "hopbench.items": 1}


@pytest.mark.parametrize(
    ("record", "name", "attributes"),
    [
        pytest.param(
            calling(HTTP),
            "POST /reserve",
            {
                **_ROUTE,
                **_EDGE,
                "url.full": "http://inventory/reserve",
                "server.address": "inventory",
                "http.response.status_code": 200,
                "http.request.body.size": 100,
                "http.response.body.size": 200,
                "hopbench.replica": 1,
            },
            id="http client",
        ),
        pytest.param(
            serving(HTTP, items=3),
            "POST /reserve",
            {
                "http.request.method": "POST",
                "http.route": "/reserve",
                "url.path": "/reserve",
                "url.scheme": "http",
                "http.response.status_code": 200,
                "hopbench.items": 3,
                "hopbench.queue_ns": 0,
            },
            id="http server",
        ),
        pytest.param(
            calling(GRPC),
            "hopbench.v1.PriceBook/Quote",
            {
                **_EDGE,
                "rpc.system.name": "grpc",
                "rpc.method": "hopbench.v1.PriceBook/Quote",
                "rpc.response.status_code": "OK",
                "server.address": "price-book",
                "hopbench.request_bytes": 100,
                "hopbench.response_bytes": 200,
                "hopbench.replica": 1,
            },
            id="grpc client",
        ),
        pytest.param(
            serving(GRPC),
            "hopbench.v1.PriceBook/Quote",
            {
                "rpc.system.name": "grpc",
                "rpc.method": "hopbench.v1.PriceBook/Quote",
                "rpc.response.status_code": "OK",
                "hopbench.items": 1,
                "hopbench.queue_ns": 0,
            },
            id="grpc server",
        ),
        pytest.param(
            calling(ASKED),
            "send ledger.post",
            {
                **_EDGE,
                "messaging.system": "kafka",
                "messaging.destination.name": "ledger.post",
                "messaging.operation.name": "send",
                "messaging.operation.type": "send",
                "server.address": "ledger",
                "hopbench.request_bytes": 100,
                "hopbench.response_bytes": 200,
            },
            id="kafka request",
        ),
        pytest.param(
            calling(PUBLISHED, key="17"),
            "send audit.log",
            {
                "hopbench.mode": "publish",
                "hopbench.items": 1,
                "messaging.system": "kafka",
                "messaging.destination.name": "audit.log",
                "messaging.operation.name": "send",
                "messaging.operation.type": "send",
                "messaging.kafka.message.key": "17",
                "hopbench.key": "17",
                "server.address": "audit",
                "hopbench.request_bytes": 100,
            },
            id="kafka publish",
        ),
        pytest.param(
            serving(PUBLISHED),
            "process audit.log",
            {
                "messaging.system": "kafka",
                "messaging.destination.name": "audit.log",
                "messaging.operation.name": "process",
                "messaging.operation.type": "process",
                "hopbench.items": 1,
                "hopbench.queue_ns": 0,
            },
            id="kafka process",
        ),
        pytest.param(
            fanning(calls=5, failures=2),
            "fanout.parallel",
            {"fanout.call_count": 5, "fanout.failures": 2},
            id="fan-out",
        ),
    ],
)
def test_a_span_says_what_its_hop_was(
    record: Record, name: str, attributes: dict[str, Any]
) -> None:
    assert span_shape(SHOP, shape_of(record)).name == name
    assert attributes_of(SHOP, record) == attributes


def test_a_key_is_on_the_wire_name_and_in_the_address_but_not_in_the_route() -> None:
    client, server = calling(HTTP, key="a b"), serving(HTTP, key="a b")
    assert span_shape(SHOP, shape_of(client)).name == "POST /reserve/{key}"
    assert attributes_of(SHOP, client)["url.full"] == "http://inventory/reserve/a%20b"
    said = attributes_of(SHOP, server)
    assert said["url.path"] == "/reserve/a%20b"
    assert said["http.route"] == "/reserve/{key}"
    assert said["hopbench.key"] == "a b"


@pytest.mark.parametrize(
    ("wire", "method"),
    [
        (HTTP, "reserve"),
        (GRPC, "hopbench.v1.PriceBook/Quote"),
        (PUBLISHED, "log"),
    ],
)
def test_a_call_of_a_fan_out_names_its_target(wire: Any, method: str) -> None:
    record = calling(wire, fanout=True)
    said = attributes_of(SHOP, record)
    span = span_shape(SHOP, shape_of(record))
    assert span.name == f"call.{wire.callee}.{wire.operation}"
    assert (said["target.service"], said["rpc.method"]) == (wire.callee, method)


def test_a_request_that_waited_for_a_worker_says_how_long() -> None:
    assert attributes_of(SHOP, serving(HTTP, queue=750_000))["hopbench.queue_ns"] == 750_000
    assert "hopbench.queue_ns" not in attributes_of(SHOP, calling(HTTP))


def test_attempts_after_the_first_are_numbered() -> None:
    first = attributes_of(SHOP, calling(HTTP))
    assert not {"http.request.resend_count", "hopbench.attempt"} & first.keys()
    assert attributes_of(SHOP, calling(HTTP, attempt=2))["http.request.resend_count"] == 2
    assert attributes_of(SHOP, calling(GRPC, attempt=1))["hopbench.attempt"] == 1


@pytest.mark.parametrize(
    ("record", "error_type", "code"),
    [
        (calling(HTTP, status=Status.ERROR), "500", 500),
        (calling(HTTP, status=Status.TIMEOUT), "timeout", None),
        (calling(HTTP, status=Status.UNAVAILABLE), "unavailable", None),
        (calling(HTTP, status=Status.CANCELLED), "cancelled", None),
        (serving(HTTP, status=Status.TIMEOUT), "504", 504),
        (calling(GRPC, status=Status.TIMEOUT), "DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED"),
        (serving(GRPC, status=Status.ERROR), "INTERNAL", "INTERNAL"),
        (calling(ASKED, status=Status.ERROR), "error", None),
        (calling(PUBLISHED, status=Status.UNAVAILABLE), "unavailable", None),
    ],
)
def test_a_failure_has_a_type_and_a_code_only_where_one_was_given(
    record: Record, error_type: str, code: int | str | None
) -> None:
    said = attributes_of(SHOP, record)
    assert span_shape(SHOP, shape_of(record)).error
    assert said["error.type"] == error_type
    given = said.get("http.response.status_code", said.get("rpc.response.status_code"))
    assert given == code
