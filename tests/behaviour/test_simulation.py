"""Whole rounds in virtual time: repeatable, deep, wide, bounded."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from services.scenario.model import Scenario
from services.simulation.replay import SpanCount
from services.simulation.round import Arrival, SimulationResult, simulate
from services.telemetry.lean import LeanTelemetry
from services.telemetry.port import Scope
from services.telemetry.records import ATTEMPT
from services.transports.memory import HopLatency
from services.wire.ports import Incoming, Status
from tests.behaviour.world import LEAF, run, scenario

SHOP = scenario(
    """
    b:
      replicas: 3
      balance: random
      operations:
        one: [{work: {cpu: {exponential: 2ms}}}, {call: c.leaf, probability: 50%}]
    c:
      replicas: 2
      operations:
        leaf: [sleep: {exponential: 3ms}]
    """,
    steps="""
    - {call: b.one, count: 4, max_parallel: 2, hedge: {after: 4ms}, timeout: 9ms, retry: {max: 1}}
    - publish: c.leaf
    """,
    rest="faults:\n  - {error: 5%, at: {service: c}}\n",
)


def lean(world: Scenario, requests: int, every_ns: int) -> SimulationResult[LeanTelemetry]:
    return simulate(
        world,
        3,
        [Arrival(n, n * every_ns, 0, n % 2 == 0, n + 1) for n in range(requests)],
        0,
        lambda service, replica, numbered, clock: LeanTelemetry(
            numbered, service, replica, clock, random.Random(f"{service}/{replica}").getrandbits
        ),
    )


def test_the_same_round_leaves_the_same_records_to_the_byte() -> None:
    first, second = (lean(SHOP, 300, 1_000_000) for _ in range(2))
    assert repr([r.telemetry.records for r in first.replicas]) == repr(
        [r.telemetry.records for r in second.replicas]
    )
    assert first.outcomes == second.outcomes
    retries = sum(r.counters.retries for r in first.replicas)
    again = sum(record[ATTEMPT] > 0 for r in first.replicas for record in r.telemetry.records)
    assert again > 2 * retries > 0  # both ends of each; the others are hedges


def test_every_handler_ends_and_every_attempt_is_recorded() -> None:
    result = lean(SHOP, 300, 1_000_000)
    assert all(r.counters.open_handlers == 0 for r in result.replicas)
    records = [record for r in result.replicas for record in r.telemetry.records]
    spans = {record[3] for record in records if record[5]}
    clients = [record for record in records if record[5] and record[0] in (3, 4)]
    assert clients
    assert all(record[4] in spans for record in clients)


@pytest.mark.slow
def test_a_chain_of_ten_thousand_hops_does_not_reach_the_recursion_limit() -> None:
    hops = 10_000
    services = "\n".join(
        f"s{n}: {{operations: {{go: [call: s{n + 1}.go]}}}}" for n in range(1, hops)
    )
    world = run(
        scenario(
            f"{services}\ns{hops}: {{operations: {{go: [sleep: 1ms]}}}}", steps="- call: s1.go"
        )
    )
    assert world.outcome.status is Status.OK
    assert world.outcome.done_ns == 1_000_000
    assert len(world.calls) == hops


@pytest.mark.slow
def test_a_fan_out_of_a_hundred_thousand_runs_at_once() -> None:
    world = run(scenario(LEAF, steps="- {call: b.one, count: 100000, max_parallel: all}"))
    assert world.outcome.done_ns == 1_000_000
    assert world.calls[-1] == "1 } 100000 calls, 0 failed"


def test_requests_above_the_bound_are_dropped_and_told() -> None:
    base = scenario(LEAF, steps="- call: b.three")
    bounded = replace(base, load=replace(base.load, max_in_flight=2))
    outcomes = run(bounded, requests=6, every_ms=1.1).result.outcomes
    assert [o.number for o in outcomes if o.sent_ns is None] == [2, 5]
    assert [o.status for o in outcomes if o.sent_ns is not None] == [Status.OK] * 4


def test_hops_take_what_the_latency_model_says() -> None:
    result = simulate(
        scenario(LEAF, steps="- {call: b.one, request: 1000B, response: 500B}"),
        1,
        [Arrival(0, 0, 0, False, 0)],
        0,
        lambda service, replica, numbered, clock: LeanTelemetry(numbered, service, replica, clock),
        latency=lambda wire: HopLatency(fixed_ns=100_000, ns_per_byte=100),
    )
    assert result.outcomes[0].done_ns == 1_000_000 + 2 * 100_000 + 1500 * 100


class Broken(SpanCount):
    """Telemetry with a bug, at one operation."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def server_begin(self, incoming: Incoming) -> Scope:
        if self._service == "b":
            raise ValueError("a bug")
        return super().server_begin(incoming)


@pytest.mark.parametrize("step", ["call: b.one", "publish: b.one"])
def test_a_bug_ends_the_simulation_and_is_what_it_raises(step: str) -> None:
    with pytest.raises(ValueError, match="a bug"):
        simulate(
            scenario(LEAF, steps=f"- {step}"),
            3,
            [Arrival(0, 0, 0, True, 1)],
            0,
            lambda service, replica, numbered, clock: Broken(service),
        )
