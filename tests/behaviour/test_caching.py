"""A caller that keeps answers by key: what is a hit, and what is asked for."""

from __future__ import annotations

from typing import Literal

import pytest

from services.errors import BadInput
from services.scenario.model import EdgeRef, Scenario
from services.scenario.refactors import apply_refactor
from services.scenario.refactors.cache import Cache
from services.wire.ports import Status
from tests.behaviour.world import LEAF, World, run, scenario, took_ns

EDGE = EdgeRef("a", None, "b", "one")
MS = 1_000_000


def cached(
    world: Scenario, scope: Literal["request", "process"], ttl_ns: int | None = None
) -> Scenario:
    return apply_refactor(world, Cache(EDGE, scope, ttl_ns))


def keys(world: World) -> list[str | None]:
    return [sent.out.key for sent in world.sent]


def distinct(given: list[str | None]) -> list[str | None]:
    return list(dict.fromkeys(given))


@pytest.mark.parametrize("at_once", ["1", "3", "all"])
def test_a_request_asks_for_each_key_once(at_once: str) -> None:
    world = scenario(
        LEAF, steps=f"- {{call: b.one, count: 12, key: {{distinct: 4}}, max_parallel: {at_once}}}"
    )
    plain, kept = run(world), run(cached(world, "request"))
    assert keys(kept) == distinct(keys(plain))
    assert 1 < len(kept.sent) < len(plain.sent) == 12


def test_one_request_keeps_nothing_for_the_next_and_a_process_does() -> None:
    world = scenario(LEAF, steps="- {call: b.one, count: 6, key: {distinct: 3}}")
    by_request = run(cached(world, "request"), requests=20)
    by_process = run(cached(world, "process"), requests=20)
    assert len(by_request.sent) > 20
    assert sorted(map(str, keys(by_process))) == ["0", "1", "2"]


def test_steps_of_one_edge_share_what_is_kept() -> None:
    world = scenario(LEAF, steps="\n".join(["- {call: b.one, key: {distinct: 1}}"] * 4))
    assert len(run(cached(world, "request")).sent) == 1


def test_what_is_kept_for_a_time_is_asked_for_again_after_it() -> None:
    world = scenario(LEAF, steps="- {call: b.one, key: {distinct: 1}}")
    asked = run(cached(world, "process", 25 * MS), requests=10, every_ms=10)
    # Answers come 1 ms after they are asked for, and live 25: three requests of 10 ms each.
    assert [sent.at_ns // MS for sent in asked.sent] == [0, 30, 60, 90]


def test_a_batch_carries_the_missing_only() -> None:
    world = scenario(LEAF, steps="- {call: b.one, count: 12, batch: 6, key: {distinct: 8}}")
    kept = run(cached(world, "request"))
    carried = [line.split(" since")[0].rpartition(" x")[2] for line in kept.calls]
    every = run(scenario(LEAF, steps="- {call: b.one, count: 12, key: {distinct: 8}}"))
    first, second = keys(every)[:6], keys(every)[6:]
    missing = set(second) - set(first)
    assert [int(n) for n in carried] == [len(set(first)), len(missing)]


def test_a_key_in_flight_is_awaited_by_another_request() -> None:
    world = scenario(LEAF, steps="- {call: b.one, key: {distinct: 1}}")
    kept = run(cached(world, "process"), requests=2, every_ms=0.25)
    assert len(kept.sent) == 1
    assert [took_ns(outcome) / MS for outcome in kept.result.outcomes] == [1, 0.75]


def test_batches_that_want_each_others_keys_do_not_wait_for_ever() -> None:
    world = scenario(
        LEAF, steps="- {call: b.one, count: 40, batch: 5, max_parallel: all, key: {distinct: 12}}"
    )
    kept = run(cached(world, "process"), requests=30, every_ms=0.3)
    assert all(outcome.status is Status.OK for outcome in kept.result.outcomes)
    assert len(kept.sent) < 40


def test_an_error_is_not_kept_and_who_waited_for_it_asks() -> None:
    edge = EdgeRef("a", None, "b", "bad")
    world = scenario(LEAF, steps="- {call: b.bad, key: {distinct: 1}, count: 3, on_error: ignore}")
    kept = run(apply_refactor(world, Cache(edge, "process", None)), requests=2, every_ms=0.25)
    assert len(kept.sent) == 6


def test_a_request_that_is_cut_off_leaves_nobody_waiting() -> None:
    world = scenario(
        LEAF,
        steps="- {call: b.three, key: {distinct: 1}}",
        entry=", timeout: 2ms",
    )
    three = EdgeRef("a", None, "b", "three")
    kept = run(apply_refactor(world, Cache(three, "process", None)), requests=3, every_ms=1.5)
    assert [outcome.status for outcome in kept.result.outcomes] == [Status.TIMEOUT] * 3
    assert [sent.at_ns / MS for sent in kept.sent] == [0, 2, 3.5]


def test_hits_make_no_call_and_change_no_other_choice() -> None:
    world = scenario(
        LEAF,
        steps="- {call: b.one, count: 8, key: {distinct: 2}}\n- {call: b.two, probability: 50%}",
    )
    plain, kept = run(world, requests=50), run(cached(world, "request"), requests=50)
    asked = [[s.out.ticket for s in w.sent if s.out.wire.operation == "two"] for w in (plain, kept)]
    assert asked[0] == asked[1] != []


@pytest.mark.parametrize(
    ("step", "reason"),
    [("- publish: b.one", "is published"), ("- call: b.one", "has no key")],
)
def test_what_has_no_answer_or_no_key_cannot_be_kept(step: str, reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        cached(scenario(LEAF, steps=step), "request")
