"""A bound on an edge: how many attempts one replica of the caller has in flight over it."""

from __future__ import annotations

from itertools import accumulate

import pytest

from services.scenario.model import EdgeRef, Scenario
from services.scenario.refactors import apply_refactor
from services.scenario.refactors.bound import Bound
from tests.behaviour.world import LEAF, World, run, scenario, took_ns

EDGE = EdgeRef("a", None, "b", "one")
MS = 1_000_000


def bounded(world: Scenario, most: int, edge: EdgeRef = EDGE) -> Scenario:
    return apply_refactor(world, Bound(edge, most))


def peak(world: World) -> int:
    """The most attempts over an edge to b at once; each is answered after 1 ms."""
    begun = [sent.at_ns for sent in world.sent if sent.out.wire.callee == "b"]
    steps = sorted([(at, 1) for at in begun] + [(at + MS, -1) for at in begun])
    return max(accumulate(step for _, step in steps))


@pytest.mark.parametrize(
    "steps",
    [
        "- {call: b.one, count: 12, max_parallel: all}",
        "- parallel: [{call: b.one, count: 6, max_parallel: all}, {call: b.one, count: 6, "
        "max_parallel: all}]",
        "- parallel: [" + ", ".join(["call: b.one"] * 12) + "]",
    ],
    ids=["one step", "two steps", "twelve steps"],
)
def test_it_holds_over_all_steps_of_the_edge_and_drops_nothing(steps: str) -> None:
    world = scenario(LEAF, steps=steps)
    free, held = run(world), run(bounded(world, 4))
    assert (peak(free), peak(held)) == (12, 4)
    assert sorted(s.out.ticket for s in held.sent) == sorted(s.out.ticket for s in free.sent)
    assert (took_ns(free.outcome), took_ns(held.outcome)) == (MS, 3 * MS)


def test_it_holds_over_all_requests_of_a_replica() -> None:
    world = scenario(LEAF, steps="- call: b.one")
    held = run(bounded(world, 2), requests=6, every_ms=0.1)
    assert peak(held) == 2
    assert peak(run(world, requests=6, every_ms=0.1)) == 6


def test_the_narrowest_of_several_holds() -> None:
    world = bounded(scenario(LEAF, steps="- {call: b.one, count: 9, max_parallel: all}"), 5)
    both = bounded(world, 3, EdgeRef("a", "go", "b", "one"))
    assert peak(run(both)) == 3


def test_a_deadline_that_passes_while_an_attempt_waits_ends_the_request_and_frees_its_place() -> (
    None
):
    world = scenario(
        LEAF, steps="- {call: b.one, count: 9, max_parallel: all}", entry=", timeout: 2500us"
    )
    first, *_, last = run(bounded(world, 2), requests=3, every_ms=10).result.outcomes
    assert first.status is last.status
    assert first.status is not None
    assert first.status.name == "TIMEOUT"
    assert len(run(bounded(world, 2), requests=3, every_ms=10).sent) == 3 * 6
