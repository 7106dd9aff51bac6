"""What becomes of a request that a receiver does not take at once (OTLP 1.9, "Failures")."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from services.telemetry.sender import Request, pause_s
from tests.telemetry.test_pipeline import receiving

BODY = b"\x0a\x00"
"""A request that holds an empty group."""
Code = grpc.StatusCode


def soon(nanos: int = 1_000_000) -> bytes:
    """The details of a status that says when to come again."""
    details = Status()
    details.details.add().Pack(RetryInfo(retry_delay=Duration(nanos=nanos)))
    encoded: bytes = details.SerializeToString()
    return encoded


@pytest.mark.parametrize(
    ("answers", "attempts", "accepted"),
    [
        ([], 1, 3),
        ([(Code.UNAVAILABLE, soon())] * 2, 3, 3),
        ([(Code.RESOURCE_EXHAUSTED, soon())], 2, 3),
        ([(Code.RESOURCE_EXHAUSTED, b"")], 1, 0),
        ([(Code.INVALID_ARGUMENT, soon())], 1, 0),
        ([(Code.UNIMPLEMENTED, b"")], 1, 0),
        # Longer than anybody waits for a request.
        ([(Code.UNAVAILABLE, soon(900_000_000))], 1, 0),
    ],
)
def test_a_request_is_sent_again_where_that_may_help_and_when_the_receiver_says(
    answers: list[tuple[grpc.StatusCode, bytes]], attempts: int, accepted: int
) -> None:
    with receiving() as receiver:
        receiver.failures += answers
        sender = receiver.sender(timeout_s=0.8)
        sender.send("traces", Request(BODY, 3))
        assert sender.drain(10.0)
        sender.close()
    assert receiver.traces == [BODY] * attempts
    assert (sender.exported["traces"], sender.lost["traces"]) == (accepted, 3 - accepted)


class Failed:
    """As grpc raises it."""

    def __init__(self, code: grpc.StatusCode, details: bytes = b"") -> None:
        self._code = code
        self._details = details

    def code(self) -> grpc.StatusCode:
        return self._code

    def trailing_metadata(self) -> Any:
        return (("grpc-status-details-bin", self._details),) if self._details else ()


def test_pauses_double_and_are_never_quite_the_same() -> None:
    gone = Failed(Code.UNAVAILABLE)
    for failed in range(4):
        pauses = {pause_s(gone, failed) or 0.0 for _ in range(50)}
        assert len(pauses) > 40
        assert 0.8 * 2**failed <= min(pauses) <= max(pauses) <= 1.2 * 2**failed


def test_a_pause_that_the_receiver_asks_for_is_kept_however_often_it_has_failed() -> None:
    asked = Failed(Code.UNAVAILABLE, soon(250_000_000))
    assert [pause_s(asked, failed) for failed in (0, 5)] == [0.25, 0.25]


@pytest.mark.parametrize(
    ("code", "again"),
    [
        (Code.CANCELLED, True),
        (Code.DEADLINE_EXCEEDED, True),
        (Code.ABORTED, True),
        (Code.OUT_OF_RANGE, True),
        (Code.UNAVAILABLE, True),
        (Code.DATA_LOSS, True),
        (Code.UNKNOWN, False),
        (Code.INVALID_ARGUMENT, False),
        (Code.NOT_FOUND, False),
        (Code.ALREADY_EXISTS, False),
        (Code.PERMISSION_DENIED, False),
        (Code.UNAUTHENTICATED, False),
        (Code.RESOURCE_EXHAUSTED, False),
        (Code.FAILED_PRECONDITION, False),
        (Code.UNIMPLEMENTED, False),
        (Code.INTERNAL, False),
    ],
)
def test_codes_that_are_tried_again_are_those_of_the_specification(
    code: grpc.StatusCode, again: bool
) -> None:
    assert (pause_s(Failed(code), 0) is not None) == again
