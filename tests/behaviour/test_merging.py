"""Merged steps do at the caller what they did at the callee; only the message is gone."""

from __future__ import annotations

import pytest

from services.errors import BadInput
from services.scenario.capacity import calls_by_edge, shape
from services.scenario.file.difference import difference
from services.scenario.model import EdgeRef, Scenario
from services.scenario.refactors import apply_refactor
from services.scenario.refactors.batch import Batch
from services.scenario.refactors.merge import Merge
from tests.behaviour.world import LEAF, run, scenario, took_ns

EDGE = EdgeRef("a", None, "b", "order")
CALLEES = """
b:
  workers: 7
  operations:
    order:
      - {sleep: {p50: 5ms, p99: 40ms}}
      - {sleep: 1ms, per_item: true}
      - choice:
        - {weight: 2, steps: [{call: c.one, count: 2}]}
        - {weight: 1, steps: [{sleep: {uniform: [1ms, 9ms]}}]}
      - {call: c.two, probability: 40%}
      - {fail: 10%}
c:
  operations:
    one: [{sleep: {exponential: 2ms}}]
    two: [{sleep: 2ms}]
"""


def merged(world: Scenario) -> Scenario:
    return apply_refactor(world, Merge(EDGE))


@pytest.mark.parametrize(
    "steps",
    [
        "- call: b.order",
        "- {call: b.order, count: 5, on_error: ignore}",
        "- {call: b.order, count: 5, batch: 2, on_error: {fallback: [sleep: 7ms]}}",
        "- {call: b.order, count: 5, max_parallel: 2, on_error: ignore}",
        "- {call: b.order, count: 4, max_parallel: all, probability: 50%}",
        "- repeat: {times: 3, steps: [{call: b.order, on_error: ignore}]}",
    ],
)
def test_each_request_takes_what_it_took_and_ends_as_it_did(steps: str) -> None:
    world = scenario(CALLEES, steps=steps)
    before, after = (run(each, requests=60).result.outcomes for each in (world, merged(world)))
    assert [took_ns(outcome) for outcome in after] == [took_ns(outcome) for outcome in before]
    assert [outcome.status for outcome in after] == [outcome.status for outcome in before]


def test_each_call_is_one_hop_fewer_and_what_the_callee_calls_the_caller_does() -> None:
    world = scenario(CALLEES, steps="- {call: b.order, count: 3, on_error: ignore}")
    before, after = (run(each, requests=40) for each in (world, merged(world)))
    names = [sent.out.wire.operation for sent in after.sent]
    assert len(before.sent) - len(after.sent) == 3 * 40
    assert "order" not in names
    assert {sent.out.wire.caller for sent in after.sent} == {"a"}
    assert sorted(names) == sorted(
        sent.out.wire.operation for sent in before.sent if sent.out.wire.caller == "b"
    )


def test_a_callee_is_merged_at_every_caller_and_stays_for_others() -> None:
    world = scenario(
        CALLEES + "d:\n  operations:\n    via: [call: b.order]\n",
        steps="- {call: b.order, on_error: ignore}\n- {call: d.via, on_error: ignore}"
        "\n- {call: b.order, on_error: ignore}",
    )
    callers = {sent.out.wire.caller for sent in run(merged(world), requests=40).sent}
    assert callers == {"a", "b", "d"}
    before, after = (run(each, requests=40).result.outcomes for each in (world, merged(world)))
    assert [took_ns(outcome) for outcome in after] == [took_ns(outcome) for outcome in before]


def test_what_the_merged_steps_call_can_be_refactored_further() -> None:
    world = scenario(CALLEES, steps="- {call: b.order, on_error: ignore}")
    batched = apply_refactor(merged(world), Batch(EdgeRef("a", None, "c", "one"), 2))
    calls = [sent.out.wire.operation for sent in run(batched, requests=40).sent]
    unbatched = [sent.out.wire.operation for sent in run(merged(world), requests=40).sent]
    assert 2 * calls.count("one") == unbatched.count("one") > 0


def test_retries_of_the_caller_draw_as_those_of_its_callees_callee_did() -> None:
    world = scenario(
        CALLEES + "d:\n  operations:\n    via: [call: b.order]\n",
        steps="- {call: d.via, retry: {max: 2, backoff: 1ms}, on_error: ignore}",
    )
    inner = apply_refactor(world, Merge(EdgeRef("d", None, "b", "order")))
    before, after = (run(each, requests=60).result.outcomes for each in (world, inner))
    assert [took_ns(outcome) for outcome in after] == [took_ns(outcome) for outcome in before]


def test_its_shape_is_that_of_the_calls_without_their_hops() -> None:
    world = scenario(CALLEES, steps="- {call: b.order, count: 6, batch: 2, probability: 50%}")
    before, after = shape(world), shape(merged(world))
    calls = sum(n for edge, n in calls_by_edge(world).items() if edge.operation == "order")
    assert after.calls_mean == pytest.approx(before.calls_mean - calls)
    assert after.calls_worst == before.calls_worst - 3
    assert after.depth == before.depth - 1
    assert after.demand["a"].busy == pytest.approx(before.demand["a"].busy)
    assert after.demand["b"].busy == 0


def test_the_difference_says_what_goes_beside_the_message() -> None:
    world = scenario(
        CALLEES,
        steps="- {call: b.order, timeout: 1s, retry: {max: 2}}",
        rest="""
            faults:
            - {id: slow, latency: 5ms, at: {service: b}}
            - {id: far, latency: 5ms, at: {service: c}}
            """,
    )
    found = difference(world, merged(world))
    (said,) = found.others
    assert said.startswith("a.go->b.order: gone with the call: ")
    assert said.endswith("timeout, retry, b's limit of 7 at once, the fault slow")
    assert any("merged: b.order" in line for line in found.steps[0].lines)


def test_a_published_message_cannot_be_merged() -> None:
    with pytest.raises(BadInput, match="is published"):
        apply_refactor(
            scenario(LEAF, steps="- publish: b.one"), Merge(EdgeRef("a", None, "b", "one"))
        )
