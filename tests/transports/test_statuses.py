"""Codes are the protocols' own, and lead back to the status that they were made of."""

from __future__ import annotations

from http import HTTPStatus

import grpc
import pytest

from services.wire.ports import Status
from services.wire.statuses import GRPC, HTTP, OF_GRPC, OF_HTTP, GrpcCode, codes


@pytest.mark.parametrize("code", GrpcCode)
def test_a_grpc_code_has_the_number_that_grpc_gives_it(code: GrpcCode) -> None:
    assert grpc.StatusCode[code.name].value[0] == code


@pytest.mark.parametrize("status", Status)
def test_every_status_comes_back_from_its_codes(status: Status) -> None:
    assert OF_HTTP[HTTP[status]] is status
    assert OF_GRPC[GRPC[status]] is status


def test_http_codes_mean_what_the_status_does() -> None:
    # 499 is nginx's: the client closed the request. Nobody is left to read it.
    assert [HTTP[status] for status in Status] == [
        HTTPStatus.OK,
        HTTPStatus.INTERNAL_SERVER_ERROR,
        HTTPStatus.GATEWAY_TIMEOUT,
        HTTPStatus.SERVICE_UNAVAILABLE,
        499,
    ]


def test_a_reply_over_kafka_says_its_status_and_none_comes_for_unavailable() -> None:
    assert [codes("kafka")[status] for status in Status] == [0, 1, 2, -1, 4]
