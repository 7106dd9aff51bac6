"""Waiting for a worker: how long it takes is what queueing theory says, and everybody is told."""

from __future__ import annotations

import random
from math import factorial

import pytest

from services.scenario.file.parser import parse_text
from services.scenario.model import Scenario
from services.simulation.round import Arrival, simulate
from services.telemetry.lean import LeanTelemetry
from services.telemetry.records import CONSUMER, END, KIND, QUEUE, SERVER, START, STATUS
from services.wire.ports import Status

REQUESTS = 10_000
MS = 1_000_000
PROTOCOLS = ("http", "grpc", "kafka", "publish")


def queue(protocol: str, workers: int, service: str, edge: str = "") -> Scenario:
    step = (
        f"{{publish: c.do{edge}}}"
        if protocol == "publish"
        else f"{{call: c.do, protocol: {protocol}{edge}}}"
    )
    return parse_text(
        f"""
version: 1
name: queue
services:
  g: {{operations: {{go: [{step}]}}}}
  c: {{workers: {workers}, operations: {{do: [sleep: {service}]}}}}
load: {{rate: 100/s, max_in_flight: 1000000, entries: [{{call: g.go, timeout: 1h}}]}}
"""
    )


def waits(world: Scenario, rate_rps: float, requests: int = REQUESTS, seed: int = 3) -> list[int]:
    """ns, of every request in the order of their arrivals."""
    draw = random.Random(seed)
    at, due = 0.0, []
    for number in range(requests):
        at += draw.expovariate(rate_rps)
        due.append(Arrival(number, int(at * 1e9), 0, False, 0))
    result = simulate(
        world,
        seed,
        due,
        0,
        lambda service, replica, numbered, clock: LeanTelemetry(numbered, service, replica, clock),
    )
    records = [
        record
        for replica in result.replicas
        if replica.service == "c"
        for record in replica.telemetry.records
        if record[KIND] in {SERVER, CONSUMER}
    ]
    assert len(records) == requests
    records.sort(key=lambda record: record[START])
    return [record[QUEUE] for record in records]


def erlang_c(servers: int, load: float) -> float:
    """The probability that an arrival waits (Erlang 1917)."""
    last = load**servers / factorial(servers) * servers / (servers - load)
    return last / (sum(load**k / factorial(k) for k in range(servers)) + last)


@pytest.mark.parametrize(
    ("protocol", "rho", "off"), [("http", 0.5, 0.05), *((p, 0.8, 0.1) for p in PROTOCOLS)]
)
def test_one_worker_with_constant_work_is_m_d_1(protocol: str, rho: float, off: float) -> None:
    """Mean wait rho S / 2 (1 - rho): Pollaczek-Khinchine."""
    waited = waits(queue(protocol, 1, "10ms"), rho * 100)
    mean_ms = sum(waited) / len(waited) / MS
    assert mean_ms == pytest.approx(rho * 10 / (2 * (1 - rho)), rel=off)
    # Who finds the worker free waits for nothing, to the nanosecond.
    assert waited.count(0) / len(waited) == pytest.approx(1 - rho, abs=0.02)


@pytest.mark.parametrize(("rho", "off"), [(0.5, 0.15), (0.8, 0.15)])
@pytest.mark.slow
def test_four_workers_with_exponential_work_are_m_m_4(rho: float, off: float) -> None:
    waited = waits(queue("http", 4, "{exponential: 10ms}"), rho * 400, requests=20_000)
    load = rho * 4
    mean_ms = sum(waited) / len(waited) / MS
    assert mean_ms == pytest.approx(erlang_c(4, load) * 10 / (4 - load), rel=off)
    waiting = sum(ns > 0 for ns in waited) / len(waited)
    assert waiting == pytest.approx(erlang_c(4, load), abs=0.03)


@pytest.mark.parametrize("protocol", ["http", "publish"])
def test_above_capacity_the_wait_grows_by_what_comes_too_much(protocol: str) -> None:
    """At 120 % a request that comes t after the first waits 0.2 t, but for the draws."""
    waited = waits(queue(protocol, 1, "10ms"), 120, requests=6_000)
    assert waited[-1] / 1e9 == pytest.approx(0.2 * 6_000 / 120, rel=0.15)
    thirds = [sum(waited[i : i + 2_000]) for i in (0, 2_000, 4_000)]
    assert thirds[1] / thirds[0] == pytest.approx(3, rel=0.3)
    assert thirds[2] / thirds[0] == pytest.approx(5, rel=0.3)


def test_messages_in_order_are_as_many_queues_as_partitions() -> None:
    """Each partition is M/D/1, whatever workers there are."""
    ordered = ", kafka: {partitions: 2, ordering: partition}"
    waited = waits(queue("publish", 100, "10ms", ordered), 2 * 80)
    assert sum(waited) / len(waited) / MS == pytest.approx(0.8 * 10 / (2 * 0.2), rel=0.15)
    unordered = waits(queue("publish", 100, "10ms"), 2 * 80, requests=2_000)
    assert not any(unordered)


@pytest.mark.parametrize("protocol", ["http", "kafka"])
def test_a_deadline_counts_the_queue(protocol: str) -> None:
    """Two at once, one worker, 10 ms each: the second has 5 ms left when it is taken."""
    world = queue(protocol, 1, "10ms", ", timeout: 15ms, on_error: ignore")
    due = [Arrival(number, 0, 0, False, 0) for number in range(2)]
    result = simulate(
        world,
        1,
        due,
        0,
        lambda service, replica, numbered, clock: LeanTelemetry(numbered, service, replica, clock),
    )
    (served,) = [replica for replica in result.replicas if replica.service == "c"]
    told = sorted(
        (r[QUEUE] / MS, (r[END] - r[START]) / MS, Status(r[STATUS]))
        for r in served.telemetry.records
        if r[KIND] == SERVER
    )
    assert told == [(0, 10, Status.OK), (10, 15, Status.TIMEOUT)]


def test_who_gives_up_in_the_queue_waited_all_of_the_time() -> None:
    world = queue("http", 1, "10ms", ", timeout: 5ms, on_error: ignore")
    due = [Arrival(number, number * MS, 0, False, 0) for number in range(2)]
    result = simulate(
        world,
        1,
        due,
        0,
        lambda service, replica, numbered, clock: LeanTelemetry(numbered, service, replica, clock),
    )
    (served,) = [replica for replica in result.replicas if replica.service == "c"]
    second = max(served.telemetry.records, key=lambda r: r[START])
    # The first one is given up at 5 ms; the second is taken then, with one left.
    assert (second[QUEUE], second[END] - second[START]) == (4 * MS, 5 * MS)
    (flow,) = served.counters.told()
    assert (sum(flow.arrived.values()), sum(flow.left.values())) == (2, 2)


def test_a_round_counts_who_came_who_was_taken_and_who_ended() -> None:
    """20/s against a worker that can do 10: half of them wait when the second ends."""
    world = queue("publish", 1, "100ms")
    due = [Arrival(number, number * 50 * MS, 0, False, 0) for number in range(40)]
    result = simulate(
        world,
        1,
        due,
        10**9,
        lambda service, replica, numbered, clock: LeanTelemetry(numbered, service, replica, clock),
    )
    (served,) = [replica for replica in result.replicas if replica.service == "c"]
    (flow,) = served.counters.told()
    assert (flow.operation, flow.protocol) == ("do", "kafka")
    assert flow.arrived == {-1: 20, 0: 20}
    assert flow.left == {-1: 10, 0: 10, 1: 10, 2: 10}
    assert flow.handled == {-1: 9, 0: 10, 1: 10, 2: 10, 3: 1}
    (sent,) = [r.wire.produced_in for r in result.replicas if r.service == "g"]
    assert {topic: dict(of) for topic, of in sent.items()} == {"c.do": {-1: 20, 0: 20}}
