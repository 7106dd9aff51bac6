"""Claims that hold for calls over each protocol alike."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from services.errors import CannotStart
from services.scenario.model import Protocol
from services.scenario.protocols import PROTOCOLS
from services.transports import load
from services.transports.site import Broker
from services.wire.ports import Incoming, Reply, Status, TraceContext
from tests.transports.build import TICKET, Recorder, Run, Stuck, answer, outgoing, running, wire

every_protocol = pytest.mark.parametrize("protocol", list(PROTOCOLS))
over_connections = pytest.mark.parametrize("protocol", ["http", "grpc"])
"""To a replica that the caller has chosen, and that sees it hang up."""


def test_every_protocol_has_a_transport() -> None:
    for protocol in PROTOCOLS:
        module = load(protocol)
        assert callable(module.client)
        assert callable(module.listener)
        assert module.settings("embedded")


@every_protocol
def test_a_call_arrives_as_it_was_sent(protocol: Protocol, run_on: Run, embedded: Broker) -> None:
    async def main() -> None:
        recorder = Recorder()
        trace = TraceContext(2**127 + 5, 2**63 + 9, True)
        to = wire(protocol, "order-book.place-order")
        async with running(to, broker=embedded, recorder=recorder) as it:
            reply = await it.transport.call(
                outgoing(
                    to,
                    key="été/7 ?#%",
                    request_bytes=33,
                    response_bytes=44,
                    timeout_ns=9 * 10**9,
                    attempt=2,
                    trace=trace,
                )
            )
        assert reply == Reply(Status.OK, 44)
        left_ns = recorder.last.timeout_ns
        assert left_ns is not None
        # Over Kafka the time in the broker counts; nobody else's clock is looked at.
        assert left_ns == 9 * 10**9 or (protocol == "kafka" and left_ns < 9 * 10**9)
        assert replace(recorder.last, received_ns=0, timeout_ns=9 * 10**9) == Incoming(
            service="order-book",
            operation="place-order",
            protocol=protocol,
            mode="call",
            ticket=TICKET,
            key="été/7 ?#%",
            request_bytes=33,
            response_bytes=44,
            timeout_ns=9 * 10**9,
            attempt=2,
            trace=trace,
            received_ns=0,
            peer="a/0",
        )

    run_on(main)


@every_protocol
def test_what_is_not_sent_is_absent(protocol: Protocol, run: Run, embedded: Broker) -> None:
    async def main() -> None:
        recorder = Recorder()
        to = wire(protocol)
        async with running(to, broker=embedded, recorder=recorder) as it:
            await it.transport.call(outgoing(to))
        assert (recorder.last.key, recorder.last.timeout_ns, recorder.last.trace) == (None,) * 3

    run(main)


@every_protocol
@pytest.mark.parametrize("size", [0, 1, 1000, 64 * 1024, 256 * 1024 + 1, 700_000])
def test_sizes_are_exact_both_ways(
    protocol: Protocol, size: int, run: Run, embedded: Broker
) -> None:
    async def main() -> None:
        recorder = Recorder()
        to = wire(protocol)
        async with running(to, broker=embedded, recorder=recorder) as it:
            reply = await it.transport.call(outgoing(to, request_bytes=size, response_bytes=size))
        assert reply == Reply(Status.OK, size)
        assert recorder.last.request_bytes == size

    run(main)


@every_protocol
@pytest.mark.parametrize("status", [Status.ERROR, Status.TIMEOUT, Status.CANCELLED])
def test_a_failure_arrives_with_its_status_and_its_reason(
    protocol: Protocol, status: Status, run: Run, embedded: Broker
) -> None:
    async def fail(_: Incoming) -> Reply:
        return Reply(status, 0, "no stock: nichts übrig\n(50%)")

    async def main() -> None:
        to = wire(protocol)
        async with running(to, broker=embedded, handler=fail) as it:
            assert await it.transport.call(outgoing(to)) == Reply(
                status, 0, "no stock: nichts übrig\n(50%)"
            )

    run(main)


@every_protocol
def test_services_and_operations_are_told_apart(
    protocol: Protocol, run: Run, embedded: Broker
) -> None:
    async def main() -> None:
        recorder = Recorder()
        places = ["b.reserve", "b.release", "c.reserve"]
        wires = [wire(protocol, place, index=i) for i, place in enumerate(places)]
        async with running(*wires, broker=embedded, recorder=recorder) as it:
            for to in reversed(wires):
                assert (await it.transport.call(outgoing(to))).status is Status.OK
        seen = [f"{incoming.service}.{incoming.operation}" for _, incoming in recorder.seen]
        assert seen == places[::-1]

    run(main)


@every_protocol
def test_calls_in_flight_do_not_wait_for_each_other(
    protocol: Protocol, run: Run, embedded: Broker
) -> None:
    async def main() -> None:
        everyone = asyncio.Barrier(100)

        async def handler(incoming: Incoming) -> Reply:
            await everyone.wait()
            return Reply(Status.OK, incoming.response_bytes)

        to = wire(protocol)
        async with running(to, broker=embedded, handler=handler) as it:
            calls = (it.transport.call(outgoing(to)) for _ in range(100))
            assert set(await asyncio.gather(*calls)) == {Reply(Status.OK, 20)}

    run(main)


@every_protocol
def test_a_graceful_stop_lets_calls_under_way_end(
    protocol: Protocol, run: Run, embedded: Broker
) -> None:
    async def main() -> None:
        entered, go_on = asyncio.Event(), asyncio.Event()

        async def handler(incoming: Incoming) -> Reply:
            entered.set()
            await go_on.wait()
            return Reply(Status.OK, incoming.response_bytes)

        to = wire(protocol)
        async with running(to, broker=embedded, handler=handler) as it:
            call = asyncio.create_task(it.transport.call(outgoing(to)))
            await entered.wait()
            stop = asyncio.create_task(it.listeners["b/0"].stop(20 * 10**9))
            await asyncio.sleep(0)
            go_on.set()
            assert await call == Reply(Status.OK, 20)
            await stop

    run(main)


@every_protocol
def test_a_stop_without_grace_cancels_the_handler(
    protocol: Protocol, run: Run, embedded: Broker
) -> None:
    async def main() -> None:
        stuck = Stuck()
        to = wire(protocol)
        async with running(to, broker=embedded, handler=stuck) as it:
            call = asyncio.create_task(it.transport.call(outgoing(to)))
            await stuck.entered.wait()
            await it.listeners["b/0"].stop(0)
            await stuck.cancelled.wait()
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)

    run(main)


@over_connections
def test_cancelling_a_call_cancels_its_handler(protocol: Protocol, run: Run) -> None:
    async def main() -> None:
        stuck = Stuck()
        to = wire(protocol)
        async with running(to, handler=stuck) as it:
            call = asyncio.create_task(it.transport.call(outgoing(to)))
            await stuck.entered.wait()
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            await stuck.cancelled.wait()

    run(main)


@over_connections
def test_replicas_are_addressed_by_number(protocol: Protocol, run: Run) -> None:
    async def main() -> None:
        recorder = Recorder()
        to = wire(protocol)
        async with running(to, replicas=3, recorder=recorder) as it:
            for replica in (2, 0, 1, 2):
                await it.transport.call(outgoing(to, replica=replica))
        assert [place for place, _ in recorder.seen] == ["b/2", "b/0", "b/1", "b/2"]

    run(main)


@over_connections
def test_a_callee_that_is_gone_is_unavailable(protocol: Protocol, run: Run) -> None:
    async def main() -> None:
        to = wire(protocol)
        async with running(to) as it:
            await it.listeners["b/0"].stop(0)
            assert (await it.transport.call(outgoing(to))).status is Status.UNAVAILABLE
            assert (await it.transport.call(outgoing(to, replica=7))).detail == "no address of b/7"

    run(main)


@over_connections
def test_an_address_that_is_not_ours_cannot_be_listened_on(protocol: Protocol, run: Run) -> None:
    async def main() -> None:
        async with running(wire(protocol)) as it:
            site = replace(it.sites["b/0"], host="192.0.2.1")
            with pytest.raises(CannotStart, match=r"b/0: cannot listen on 192\.0\.2\.1"):
                await load(protocol).listener(site).start(answer)

    run(main)


@over_connections
def test_a_message_cannot_be_published_over_a_connection(protocol: Protocol, run: Run) -> None:
    async def main() -> None:
        to = wire(protocol)
        async with running(to) as it:
            assert (await it.transport.publish(outgoing(to))).status is Status.ERROR

    run(main)


@over_connections
def test_a_reset_call_finds_the_callee_unavailable_and_the_next_one_passes(
    protocol: Protocol, run: Run
) -> None:
    async def main() -> None:
        replies = [Reply(Status.UNAVAILABLE, 0, "fault"), Reply(Status.OK, 20)]

        async def handler(_: Incoming) -> Reply:
            return replies.pop(0)

        to = wire(protocol)
        async with running(to, handler=handler) as it:
            assert (await it.transport.call(outgoing(to))).status is Status.UNAVAILABLE
            assert await it.transport.call(outgoing(to)) == Reply(Status.OK, 20)

    run(main)


def test_a_reset_call_over_kafka_gets_no_reply(run: Run, embedded: Broker) -> None:
    async def main() -> None:
        handled = asyncio.Event()

        async def handler(_: Incoming) -> Reply:
            handled.set()
            return Reply(Status.UNAVAILABLE, 0, "fault")

        to = wire("kafka")
        async with running(to, broker=embedded, handler=handler) as it:
            call = asyncio.create_task(it.transport.call(outgoing(to)))
            await handled.wait()
            done, _ = await asyncio.wait({call}, timeout=0.3)
            assert not done
            call.cancel()

    run(main)
