"""What operators make of an operation sends the items that it sent, as an engine runs it."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.errors import BadInput
from services.scenario.model import EdgeRef, Operation, Refactor, Scenario, Service, Step, Target
from services.scenario.refactors import apply_refactor
from services.scenario.refactors.batch import Batch
from services.scenario.refactors.operator import rewritten
from services.scenario.refactors.parallelize import Parallelize
from services.scenario.steps.fail import Fail
from services.scenario.tree import with_operations
from services.wire import ticket
from tests.behaviour.world import LEAF, run, scenario, took_ns
from tests.scenario.strategies import TALK_TARGETS, talks

GO = Target("a", "go")
OPERATORS: list[Refactor] = [
    *(Parallelize(GO, limit) for limit in (None, 2, 5)),
    *(
        Batch(EdgeRef("a", None, to.service, to.operation), n)
        for to in TALK_TARGETS
        for n in (2, 9)
    ),
]


def batched(world: Scenario, operation: str, size: int = 20) -> Scenario:
    return apply_refactor(world, Batch(EdgeRef("a", None, "b", operation), size))


def lucky(world: Scenario) -> Scenario:
    """Where no step fails, so that each request gets to its end."""

    def lucky(step: Step) -> Step:
        return replace(step, probability=0.0) if isinstance(step, Fail) else step

    def all_lucky(service: Service, operation: Operation) -> Operation:
        return replace(operation, steps=rewritten(operation.steps, lucky))

    return with_operations(world, all_lucky)


def items(world: Scenario) -> Counter[tuple[str, str, int]]:
    """The callee's service and operation, and the key of each item that it got."""
    return Counter(
        (sent.out.wire.callee, sent.out.wire.operation, key)
        for sent in run(world, requests=2).sent
        for key in ticket.item_keys(sent.out.ticket)
    )


@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(talks(), st.lists(st.sampled_from(OPERATORS), min_size=1, max_size=3))
def test_every_item_comes_under_its_key(world: Scenario, refactors: list[Refactor]) -> None:
    changed = world
    for refactor in refactors:
        with suppress(BadInput):
            changed = apply_refactor(changed, refactor)
    assert items(lucky(changed)) == items(lucky(world))


def test_edges_that_take_turns_are_batched_each() -> None:
    world = scenario(LEAF, steps="- repeat: {times: 3, steps: [call: b.one, call: b.two]}")
    assert run(batched(batched(world, "one"), "two")).calls == [
        "1 one/0 x3 since 0 ok",
        "3 two/0 x3 since 1 ok",
    ]


def test_what_is_left_of_a_repeat_takes_what_it_took() -> None:
    slow = "{sleep: {uniform: [1ms, 9ms]}, id: s}"
    world = scenario(LEAF, steps=f"- repeat: {{times: 4, steps: [call: b.one, {slow}]}}")
    before, after = (
        [took_ns(o) for o in run(each, requests=30).result.outcomes]
        for each in (world, batched(world, "one"))
    )
    assert [old - new for old, new in zip(before, after, strict=True)] == [3_000_000] * 30


@pytest.mark.parametrize(("size", "fallbacks"), [(2, 3), (5, 1)])
def test_a_fallback_runs_once_for_each_call_that_fails(size: int, fallbacks: int) -> None:
    call = "{call: b.bad, on_error: {fallback: [call: b.two]}}"
    world = scenario(LEAF, steps=f"- repeat: {{times: 5, steps: [{call}, sleep: 1ms]}}")
    said = [sent.out.wire.operation for sent in run(batched(world, "bad", size)).sent]
    assert said == ["bad", "two"] * fallbacks


def test_what_can_be_sent_before_the_work_between_calls_is_and_the_work_stays() -> None:
    steps = """
        - call: b.two
        - {work: 1ms, id: w}
        - call: b.three
        - {work: {uniform: [1ms, 9ms]}, id: x}
        - {call: b.one, after: w}
        """
    world = scenario(LEAF, steps=steps)
    before, after = (run(of) for of in (world, apply_refactor(world, Parallelize(GO, None))))
    at_ns = {sent.out.wire.operation: sent.at_ns for sent in after.sent}
    assert at_ns == {"two": 0, "three": 0, "one": 1_000_000}
    assert took_ns(after.outcome) < took_ns(before.outcome) - 4_000_000
    used = [sum(of.cpu_ns for of in each.result.replicas) for each in (before, after)]
    assert used[0] == used[1] > 2_000_000
