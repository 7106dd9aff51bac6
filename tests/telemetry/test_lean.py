"""What is recorded at each end of a hop, and which context travels on."""

from __future__ import annotations

import pytest

from services.telemetry.lean import LeanTelemetry, NullTelemetry
from services.telemetry.records import (
    ATTEMPT,
    CALLS,
    CLIENT,
    CONSUMER,
    INTERNAL,
    ITEMS,
    KIND,
    PARENT,
    PRODUCER,
    SAMPLED,
    SERVER,
    SITE,
    SPAN,
    TRACE,
)
from services.wire.ports import Incoming, Reply, Status, TraceContext
from tests.telemetry.build import CAME, HTTP, PUBLISHED, SHOP, Ticks, incoming, numbered, outgoing

OK = Reply(Status.OK, 200)


def telemetry(service: str = "order") -> LeanTelemetry:
    return LeanTelemetry(SHOP, service, 0, Ticks(), numbered())


def create(sampled: bool = True) -> Incoming:
    return incoming(
        service="order",
        operation="create",
        protocol="http",
        mode="call",
        trace=TraceContext(CAME.trace_id, CAME.span_id, sampled),
    )


def test_a_sampled_hop_is_a_child_of_its_caller_in_the_same_trace() -> None:
    seen = telemetry()
    scope = seen.server_begin(create())
    attempt = seen.attempt_begin(HTTP, scope.trace, fanout=False)
    assert attempt.trace == TraceContext(CAME.trace_id, 2, True)
    seen.attempt_end(attempt, outgoing(), 1, OK)
    seen.server_end(scope, OK)
    client, server = seen.records
    assert [client[i] for i in (KIND, SITE, TRACE, SPAN, PARENT, SAMPLED)] == [
        CLIENT, 0, CAME.trace_id, 2, 1, True,
    ]  # fmt: skip
    assert [server[i] for i in (KIND, SITE, TRACE, SPAN, PARENT, SAMPLED)] == [
        SERVER, 0, CAME.trace_id, 1, CAME.span_id, True,
    ]  # fmt: skip


def test_an_unsampled_hop_draws_no_id_and_hands_on_the_context_it_got() -> None:
    seen = LeanTelemetry(SHOP, "order", 0, Ticks(), ids=_none_left)
    scope = seen.server_begin(create(sampled=False))
    fanout = seen.fanout_begin(scope, scope.trace)
    attempt = seen.attempt_begin(HTTP, fanout.trace, fanout=True)
    assert attempt.trace == TraceContext(CAME.trace_id, CAME.span_id, False)
    seen.attempt_end(attempt, outgoing(), 1, OK)
    seen.fanout_end(scope, fanout)
    seen.server_end(scope, OK)
    assert [record[KIND] for record in seen.records] == [CLIENT, SERVER]
    assert not any(record[SAMPLED] for record in seen.records)


def _none_left(bits: int) -> int:
    raise AssertionError("an id was drawn")


def test_a_request_without_context_is_sampled_and_has_no_parent() -> None:
    seen = telemetry()
    scope = seen.server_begin(incoming(service="order", operation="create", trace=None))
    seen.server_end(scope, OK)
    (record,) = seen.records
    assert scope.trace.sampled
    assert record[PARENT] == 0


def test_a_fan_out_is_the_parent_of_its_calls_and_counts_them() -> None:
    seen = telemetry()
    scope = seen.server_begin(create())
    fanout = seen.fanout_begin(scope, scope.trace)
    for status in (Status.OK, Status.ERROR):
        attempt = seen.attempt_begin(HTTP, fanout.trace, fanout=True)
        seen.attempt_end(attempt, outgoing(), 1, Reply(status, 0))
        fanout.calls += 1
        fanout.failures += status is not Status.OK
    seen.fanout_end(scope, fanout)
    seen.server_end(scope, OK)
    first, second, span, _ = seen.records
    assert (span[KIND], span[PARENT]) == (INTERNAL, scope.trace.span_id)
    assert (span[ITEMS], span[CALLS]) == (2, 1)
    assert first[PARENT] == second[PARENT] == span[SPAN]
    assert first[CALLS] == 1


def test_publishing_and_handling_a_message_are_producer_and_consumer() -> None:
    sender, receiver = telemetry(), telemetry("audit")
    attempt = sender.attempt_begin(PUBLISHED, CAME, fanout=False)
    sender.attempt_end(attempt, outgoing(PUBLISHED), 1, OK)
    receiver.server_end(receiver.server_begin(incoming(PUBLISHED, trace=attempt.trace)), OK)
    (producer,), (consumer,) = sender.records, receiver.records
    assert (producer[KIND], consumer[KIND]) == (PRODUCER, CONSUMER)
    assert consumer[PARENT] == producer[SPAN]


@pytest.mark.parametrize(
    ("groups", "items"), [("order.create/1@0", 1), ("a@0-4+7", 6), ("a@0-9,b@3,c@1+5-6", 14)]
)
def test_a_handler_knows_how_many_items_its_call_carried(groups: str, items: int) -> None:
    seen = telemetry("inventory")
    for key in (1, 2):
        scope = seen.server_begin(incoming(ticket=f"{key:016x};{groups}"))
        seen.server_end(scope, OK)
    assert [record[ITEMS] for record in seen.records] == [items, items]


def test_a_retry_is_recorded_under_its_number() -> None:
    seen = telemetry()
    attempt = seen.attempt_begin(HTTP, CAME, fanout=False)
    seen.attempt_end(attempt, outgoing(attempt=2), 1, OK)
    assert seen.records[0][ATTEMPT] == 2


def test_with_tracing_off_every_hop_is_recorded_and_no_context_travels() -> None:
    seen = NullTelemetry(SHOP, "order", 0, Ticks(), ids=_none_left)
    scope = seen.server_begin(create())
    fanout = seen.fanout_begin(scope, scope.trace)
    attempt = seen.attempt_begin(HTTP, fanout.trace, fanout=True)
    assert attempt.trace is None
    seen.attempt_end(attempt, outgoing(), 1, OK)
    seen.fanout_end(scope, fanout)
    seen.server_end(scope, OK)
    assert [record[KIND] for record in seen.records] == [CLIENT, SERVER]
    assert not any(record[SAMPLED] for record in seen.records)
