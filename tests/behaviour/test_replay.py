"""How many spans a round must have produced, and when nobody can say."""

from __future__ import annotations

import random

import pytest

from services.simulation.replay import Expected, expected_spans
from services.simulation.round import Arrival, simulate
from services.telemetry.lean import LeanTelemetry
from tests.behaviour.world import LEAF, scenario

SHOP = """
- call: b.one
- {call: b.two, count: 4, batch: 2, probability: 60%}
- {call: b.one, count: 3, max_parallel: all}
- parallel:
  - call: b.two
  - {call: b.one, protocol: kafka}
- publish: b.three
"""


def arrivals(n: int = 50) -> list[Arrival]:
    return [Arrival(i, i * 1_000_000, 0, i % 3 != 0, i + 1) for i in range(n)]


def test_the_replay_counts_the_spans_that_a_round_makes() -> None:
    world = scenario(LEAF, steps=SHOP)
    result = simulate(
        world,
        5,
        arrivals(),
        0,
        lambda service, replica, numbered, clock: LeanTelemetry(
            numbered, service, replica, clock, random.Random(f"{service}{replica}").getrandbits
        ),
    )
    made = sum(record[5] for r in result.replicas for record in r.telemetry.records)
    assert expected_spans(world, 5, arrivals(), "lean") == Expected(made, "")


def test_official_has_more_spans_where_an_instrumentation_traces_or_kafka_carries() -> None:
    world = scenario(LEAF, steps=SHOP)
    sampled = sum(arrival.sampled for arrival in arrivals())
    lean = expected_spans(world, 5, arrivals(), "lean").spans
    official = expected_spans(world, 5, arrivals(), "official").spans
    assert lean is not None
    instrumented_in_fanouts, over_kafka = 4, 2
    assert official == lean + (instrumented_in_fanouts + 2 * over_kafka) * sampled


def test_nothing_sampled_makes_no_spans() -> None:
    unsampled = [arrival._replace(sampled=False) for arrival in arrivals()]
    assert expected_spans(scenario(LEAF, steps=SHOP), 5, unsampled, "lean") == Expected(0, "")


def test_latency_faults_and_plain_errors_can_be_counted() -> None:
    world = scenario(
        LEAF,
        steps="- {call: b.bad, on_error: ignore}",
        rest="faults:\n  - {latency: 9ms, at: {service: b}}\n",
    )
    assert expected_spans(world, 5, arrivals(3), "lean") == Expected(6, "")


@pytest.mark.parametrize(
    ("steps", "rest", "reason"),
    [
        ("- {call: b.three, timeout: 2ms}", "", "timeouts fired"),
        ("- {call: b.bad, retry: {max: 1}}", "", "retries fired"),
        ("- call: b.one", "faults:\n  - {error: 100%, at: {service: b}}\n", "error faults fired"),
        (
            "- parallel:\n  - call: b.bad\n  - call: b.three",
            "",
            "failures cancelled calls beside them",
        ),
    ],
)
def test_what_hangs_on_time_is_not_counted(steps: str, rest: str, reason: str) -> None:
    world = scenario(LEAF, steps=steps, rest=rest)
    assert expected_spans(world, 5, arrivals(), "lean") == Expected(None, reason)


def test_a_hedged_edge_is_not_counted() -> None:
    world = scenario(
        "b: {replicas: 2, operations: {one: [sleep: 1ms]}}",
        steps="- {call: b.one, id: asked, hedge: {after: 5ms}}",
    )
    assert expected_spans(world, 5, arrivals(), "lean") == Expected(
        None, "asked is hedged, and how often hangs on time"
    )
