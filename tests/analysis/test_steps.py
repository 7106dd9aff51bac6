"""Steps: what a messaging library writes of one end of a hop is no hop of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis.spans.parquet import read_parquet
from analysis.spans.table import Flag, Kind
from analysis.traces.critical_path import PRESETS, critical_path
from analysis.traces.pairs import pair
from tests.analysis.build import Span, Traces, written

TRACE = "0af7651916cd43dd8448eb211c80319c"
GENERATOR = TRACE[16:]


def received(
    traces: Traces,
    parent: Span | str | None,
    service: str,
    kind: Kind = Kind.CONSUMER,
) -> Span:
    said = {
        "messaging.system": "kafka",
        "messaging.destination.name": f"{service}.placed",
        "messaging.operation.type": "receive",
    }
    at = (3, 3.1)
    return traces.span(TRACE, parent, service, "receive", *at, kind, attributes=said)


def handled(
    traces: Traces,
    parent: Span | str,
    service: str,
    kind: Kind = Kind.CONSUMER,
    topic: str = "",
) -> Span:
    said = {
        "messaging.system": "kafka",
        "messaging.destination.name": topic or f"{service}.placed",
        "messaging.operation.type": "process",
    }
    return traces.span(TRACE, parent, service, "process", 4, 9, kind, attributes=said)


def steps(traces: Traces) -> list[bool]:
    found: list[bool] = traces.table().has(Flag.STEP).tolist()
    return found


def hops(traces: Traces) -> list[str]:
    found, _ = pair(traces.table())
    return [f"{p.caller}->{p.target}" for p in (found.places[int(at)] for at in found.place)]


def test_a_message_that_was_received_and_then_handled_is_one_hop_with_one_delivery() -> None:
    traces = Traces()
    producer = traces.request(TRACE).publish("stock", "placed", 1, 2, None)
    received(traces, producer, "stock")
    handled(traces, producer, "stock").call("price", "quote", 5, 6)
    assert steps(traces) == [False, False, True, False, False, False]
    assert hops(traces) == ["gateway->stock.stock.placed", "stock->price.POST /quote"]
    found, _ = pair(traces.table())
    assert [rows.tolist() for rows in found.deliveries] == [[1], [3]]


def test_the_older_name_of_the_operation_counts_as_well() -> None:
    traces = Traces()
    producer = traces.request(TRACE).publish("stock", "placed", 1, 2, None)
    old = {"messaging.operation.type": "", "messaging.operation": "receive"}
    said = {"messaging.system": "kafka", "messaging.destination": "stock.placed"} | old
    del said["messaging.operation.type"]
    traces.span(TRACE, producer, "stock", "r", 3, 4, Kind.CONSUMER, attributes=said)
    handled(traces, producer, "stock")
    assert steps(traces) == [False, False, True, False]


def test_a_message_that_was_only_received_is_a_delivery() -> None:
    traces = Traces()
    received(traces, traces.request(TRACE).publish("stock", "placed", 1, 2, None), "stock")
    assert steps(traces) == [False, False, False]
    found, _ = pair(traces.table())
    assert [rows.tolist() for rows in found.deliveries] == [[1], [2]]


def test_each_service_that_handles_a_message_has_its_delivery() -> None:
    traces = Traces()
    producer = traces.request(TRACE).publish("stock", "placed", 1, 2, None)
    for service in ("stock", "audit"):
        received(traces, producer, service)
        handled(traces, producer, service)
    received(traces, producer, "mail")
    assert steps(traces) == [False, False, True, False, True, False, False]
    found, _ = pair(traces.table())
    assert [rows.tolist() for rows in found.deliveries] == [[1, 1, 1], [6, 3, 5]]


def test_a_request_over_a_queue_is_one_hop_with_a_step_at_each_end() -> None:
    traces = Traces()
    request = traces.request(TRACE)
    client = request.client("stock", "placed", 1, 10, protocol="kafka")
    said = {"messaging.system": "kafka", "messaging.destination.name": "stock.placed"}
    traces.span(TRACE, client, "gateway", "send", 1, 1.5, Kind.PRODUCER, attributes=said)
    received(traces, client, "stock")
    handled(traces, client, "stock", Kind.SERVER)
    assert steps(traces) == [False, False, True, True, False]
    found, _ = pair(traces.table())
    assert hops(traces) == ["gateway->stock.stock.placed"]
    assert (found.client.tolist(), found.server.tolist()) == ([1], [4])
    assert not found.messages.any()


def test_a_receiving_may_be_a_client_as_newer_conventions_have_it() -> None:
    traces = Traces()
    producer = traces.request(TRACE).publish("stock", "placed", 1, 2, None)
    received(traces, producer, "stock", Kind.CLIENT)
    handled(traces, producer, "stock")
    assert steps(traces) == [False, False, True, False]
    assert traces.table().has(Flag.ASYNC).tolist() == [False, False, True, True]
    assert hops(traces) == ["gateway->stock.stock.placed"]


def test_a_poll_is_no_call_to_what_handles_a_message_below_it() -> None:
    traces = Traces()
    producer = traces.request(TRACE).publish("stock", "placed", 1, 2, None)
    said = {"messaging.system": "kafka", "messaging.destination.name": "stock.placed"}
    taken = said | {"messaging.operation.type": "receive"}
    poll = traces.span("poll", None, "stock", "poll", 3, 9, Kind.CLIENT, attributes=taken)
    traces.span(
        "poll", poll, "stock", "process", 4, 9, Kind.CONSUMER, attributes=said, links=[producer]
    )
    assert steps(traces) == [False, False, True, False]
    assert hops(traces) == ["gateway->stock.stock.placed"]


def test_a_consumer_that_says_nothing_of_its_destination_handled_what_was_received() -> None:
    traces = Traces()
    producer = traces.request(TRACE).publish("stock", "placed", 1, 2, None)
    received(traces, producer, "stock")
    traces.span(TRACE, producer, "stock", "handle", 4, 9, Kind.CONSUMER)
    assert steps(traces) == [False, False, True, False]


def test_a_poll_that_links_to_what_it_received_makes_that_no_hop() -> None:
    traces = Traces()
    producer = traces.request(TRACE).publish("stock", "placed", 1, 2, None)
    taken = received(traces, producer, "stock")
    handled(traces, producer, "stock")
    said = {"messaging.operation.type": "receive", "messaging.destination.name": "stock.placed"}
    traces.span("poll", None, "stock", "poll", 3, 4, Kind.CONSUMER, attributes=said, links=[taken])
    assert steps(traces) == [False, False, True, False, False]
    assert hops(traces) == ["gateway->stock.stock.placed"]


@pytest.mark.parametrize("beside", ["a message of another topic", "a request over HTTP"])
def test_what_handled_something_else_does_not_stand_for_what_was_received(beside: str) -> None:
    # One span led to both: what sent them was not recorded.
    traces = Traces()
    sender = traces.request(TRACE).internal("send all", 1, 2)
    received(traces, sender, "stock")
    if beside == "a request over HTTP":
        said = {"http.request.method": "POST", "url.path": "/quote"}
        traces.span(TRACE, sender, "stock", "serve", 4, 5, Kind.SERVER, attributes=said)
    else:
        handled(traces, sender, "stock", topic="stock.moved")
    assert not any(steps(traces))
    assert len(hops(traces)) == 2


@pytest.mark.parametrize(
    "why", ["another destination", "another service", "something below", "linked to"]
)
def test_a_producer_below_a_caller_is_a_hop_if_it_sends_something_else(why: str) -> None:
    traces = Traces()
    request = traces.request(TRACE)
    client = request.client("stock", "placed", 1, 10, protocol="kafka")
    topic = "audit.log" if why == "another destination" else "stock.placed"
    service = "proxy" if why == "another service" else "gateway"
    said = {"messaging.system": "kafka", "messaging.destination.name": topic}
    sent = traces.span(TRACE, client, service, "send", 1, 2, Kind.PRODUCER, attributes=said)
    if why == "something below":
        handled(traces, sent, "stock")
    if why == "linked to":
        traces.span("other", None, "stock", "n", 3, 4, Kind.CONSUMER, links=[sent])
    assert not any(steps(traces))


def test_each_of_several_messages_that_one_call_sends_is_a_hop() -> None:
    traces = Traces()
    batch = traces.request(TRACE).publish("stock", "placed", 1, 4, None)
    said = {"messaging.system": "kafka", "messaging.destination.name": "stock.placed"}
    for at in (1, 2, 3):
        traces.span(TRACE, batch, "gateway", "send", at, at + 1, Kind.PRODUCER, attributes=said)
    assert not any(steps(traces))


def test_a_producer_that_names_no_destination_is_a_hop_below_another_of_its_name() -> None:
    traces = Traces()
    outer = traces.span(TRACE, traces.request(TRACE), "gateway", "enqueue", 1, 4, Kind.PRODUCER)
    traces.span(TRACE, outer, "gateway", "enqueue", 2, 3, Kind.PRODUCER)
    assert not any(steps(traces))


def test_a_message_that_is_put_back_where_it_was_received_is_a_hop() -> None:
    traces = Traces()
    taken = received(traces, None, "stock", Kind.CLIENT)
    said = {"messaging.system": "kafka", "messaging.destination.name": "stock.placed"}
    traces.span(TRACE, taken, "stock", "send", 3, 4, Kind.PRODUCER, attributes=said)
    assert not any(steps(traces))


def test_what_did_something_below_the_receiving_keeps_its_kind() -> None:
    traces = Traces()
    producer = traces.request(TRACE).publish("stock", "placed", 1, 2, None)
    received(traces, producer, "stock").call("price", "quote", 3, 3.1, tax=0)
    handled(traces, producer, "stock")
    assert not any(steps(traces))


def test_a_message_from_the_generator_has_one_root_its_handler() -> None:
    traces = Traces()
    received(traces, GENERATOR, "stock")
    handled(traces, GENERATOR, "stock", Kind.SERVER)
    spans = traces.table()
    assert spans.parent.tolist() == [1, -1]
    assert steps(traces) == [True, False]
    path = critical_path(spans, PRESETS["reference"])
    assert path.is_root.tolist() == [False, True]
    assert path.on_path.tolist() == [False, True]


def test_a_message_that_two_replicas_took_has_each_receiving_below_its_own_handler() -> None:
    traces = Traces()
    said = {"messaging.destination.name": "stock.placed"}
    taken = said | {"messaging.operation.type": "receive"}
    for replica, at in (("0", 3), ("1", 8)):
        end = (Kind.CONSUMER, taken), (Kind.SERVER, said)
        for (kind, says), start in zip(end, (at, at + 1), strict=True):
            traces.span(
                TRACE, GENERATOR, "stock", "s", start, start + 1, kind,
                attributes=says, instance=replica, host=f"host-{replica}",
            )  # fmt: skip
    found = traces.normalised(skew=True)
    assert found.spans.parent.tolist() == [1, -1, 3, -1]
    assert found.repairs["shifted"] == 0


def test_receiving_before_the_handler_began_is_not_outside_of_anything() -> None:
    traces = Traces()
    received(traces, GENERATOR, "stock")
    handled(traces, GENERATOR, "stock", Kind.SERVER)
    assert critical_path(traces.table(), PRESETS["reference"]).outside == 0


def test_of_a_message_whose_sender_is_missing_the_handler_alone_is_an_orphan(
    tmp_path: Path,
) -> None:
    traces = Traces()
    traces.request(TRACE)
    received(traces, "never-came", "stock")
    handled(traces, "never-came", "stock")
    found = traces.normalised()
    assert found.spans.parent.tolist() == [-1, 2, -1]
    assert found.spans.has(Flag.ORPHAN).tolist() == [False, False, True]
    assert found.repairs["orphan"] == 1
    written(found.spans, tmp_path / "spans.parquet")
    again = read_parquet(tmp_path / "spans.parquet")
    assert again.has(Flag.STEP).tolist() == [False, True, False]
    assert again.absent.row.tolist() == found.spans.absent.row.tolist() == [2]
