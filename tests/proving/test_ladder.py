"""What is kept of what was measured: the flow of a proof, on stages without an engine."""

from __future__ import annotations

import pytest

from analysis.findings.finding import Finding
from hopbench.proving.course import Course, Void, least_rounds
from hopbench.proving.document import Step
from hopbench.proving.proof import prove, told
from tests.proving.in_memory import (
    AT_ONCE,
    AT_ONCE_BY,
    HEDGED,
    HEDGED_BY,
    QUOTE,
    QUOTED_BY,
    TAKE,
    TAKEN_BY,
    Written,
    asked,
    finding,
)


def proved(stages: Written, depth: int = 3, budget_s: float | None = None) -> Course:
    course = Course()
    prove(asked(depth, budget_s), stages, course)
    assert course.finished
    return course


def step(course: Course, name: str) -> Step:
    (found,) = [each for each in course.steps if each.name == name]
    return found


def test_what_helps_is_confirmed_and_all_of_it_proved_together() -> None:
    stages = Written([[finding(TAKE), finding(QUOTE)]], {})
    course = proved(stages)
    assert [each.held for each in course.steps] == [True, True]
    assert [(stage, arms) for stage, arms, _ in stages.ran] == [
        ("1-look", ("baseline",)),
        ("1-screen", ("baseline", TAKEN_BY, QUOTED_BY)),
        ("1-confirm", ("baseline", TAKEN_BY, QUOTED_BY)),
        ("2-look", ("so-far",)),
        ("final", ("baseline", "final")),
    ]
    assert told(course).startswith(
        "2 of 2 refactors held; together: order.create 20.0 → 10.0 ms (0.5× [0.49, 0.51]), faster."
    )


def test_no_stage_shares_its_requests_with_another() -> None:
    """What selects a refactor is never what says what it gave."""
    stages = Written([[finding(TAKE)], [finding(QUOTE)]], {})
    proved(stages)
    assert len(set(stages.seeds)) == len(stages.seeds) == 8


def test_what_does_not_help_in_the_screen_is_not_measured_again() -> None:
    stages = Written([[finding(TAKE), finding(QUOTE)]], {QUOTED_BY: 1.2})
    course = proved(stages)
    assert ("1-confirm", ("baseline", TAKEN_BY), 12) in stages.ran
    found = step(course, QUOTED_BY)
    assert (found.held, found.confirmed) == (False, False)
    assert found.why == "not in the screen: order.create P50 1.2× [1.18, 1.22], slower"
    assert found.estimate_ms == pytest.approx(-4)


def test_what_a_screen_shows_by_chance_does_not_hold() -> None:
    stages = Written([[finding(TAKE)]], {f"1-confirm {TAKEN_BY}": 1.0})
    course = proved(stages)
    assert (step(course, TAKEN_BY).held, step(course, TAKEN_BY).confirmed) == (False, True)
    assert step(course, TAKEN_BY).why.startswith("not in fresh rounds: order.create P50 1×")
    assert course.final is None
    assert told(course) == "No refactor held."


def test_of_two_on_one_edge_the_better_is_kept() -> None:
    stages = Written([[finding({**TAKE, "size": 3}), finding(TAKE)]], {f"{TAKEN_BY}-2": 0.3})
    course = proved(stages)
    assert step(course, f"{TAKEN_BY}-2").held
    assert step(course, TAKEN_BY).why == (
        f"an alternative to {TAKEN_BY}-2, which was kept: both change order->stock.take"
    )


def test_what_it_costs_stands_beside_what_it_gives() -> None:
    course = proved(Written([[finding(TAKE)]], {}, worse=frozenset({TAKEN_BY})))
    assert step(course, TAKEN_BY).held
    assert step(course, TAKEN_BY).why.endswith("faster, but CPU per request +40 %")


def test_a_hedge_is_judged_by_the_slowest_requests() -> None:
    text = """
version: 1
name: shop
services:
  order: {operations: {create: [{call: stock.take, id: take}]}}
  stock: {replicas: 2, operations: {take: [sleep: {exponential: 5ms}]}}
load: {rate: 50/s, duration: 5s, warmup: 1s, entry: order.create}
"""
    stages = Written([[finding(HEDGED)]], {HEDGED_BY: 1.0, f"{HEDGED_BY} P95": 0.6})
    course = Course()
    prove(asked(text=text), stages, course)
    found = step(course, HEDGED_BY)
    assert (found.held, found.quantile) == (True, 95)
    assert found.estimate_ms == pytest.approx(8)


def test_it_is_looked_again_while_there_is_something_new() -> None:
    stages = Written([[finding(TAKE)], [finding(TAKE), finding(QUOTE)]], {})
    course = proved(stages)
    assert [(each.depth, each.name) for each in course.steps] == [(1, TAKEN_BY), (2, QUOTED_BY)]
    assert ("2-screen", ("so-far", QUOTED_BY), 12) in stages.ran
    assert "3-look" in [stage for stage, *_ in stages.ran]
    shallow = Written(stages.finds, {})
    assert [each.name for each in proved(shallow, depth=1).steps] == [TAKEN_BY]


def test_what_cannot_be_applied_any_more_is_told() -> None:
    stages = Written([[finding(AT_ONCE)], [finding({**TAKE, "edge": "order->no.such"})]], {})
    course = proved(stages)
    assert step(course, AT_ONCE_BY).held
    (other,) = [each for each in course.steps if each.depth == 2]
    assert other.why.startswith("does not go with what has held: ")
    assert (other.verdict, other.held) == (None, False)


def test_without_a_proposal_there_is_nothing_to_prove() -> None:
    stages = Written([[finding(None)]], {})
    course = proved(stages)
    assert [stage for stage, *_ in stages.ran] == ["1-look"]
    assert told(course) == "Nothing to prove: no finding proposes a refactor."


def test_the_budget_leaves_out_what_promises_least() -> None:
    found = [finding(QUOTE, 2.0), finding(TAKE, 7.0)]
    course = proved(Written([found], {}, room=least_rounds(asked())))
    assert step(course, TAKEN_BY).held
    assert step(course, QUOTED_BY).why == "not tried: the budget"


def test_the_budget_shortens_the_last_comparison_and_skips_further_looks() -> None:
    stages = Written([[finding(TAKE)]], {}, room=least_rounds(asked()))
    proved(stages)
    assert stages.ran[-1] == ("final", ("baseline", "final"), 12)
    assert stages.said == ["the budget has no room for look 2"]


def many(count: int) -> tuple[str, list[Finding]]:
    """A scenario of so many edges, and a finding at each: the first ones promise most."""
    calls = "".join(f"\n        - {{call: s{n}.ask, count: 6, id: ask{n}}}" for n in range(count))
    services = "".join(f"\n  s{n}: {{operations: {{ask: [sleep: 1ms]}}}}" for n in range(count))
    text = f"""
version: 1
name: shop
services:
  order:
    operations:
      create:{calls}{services}
load: {{rate: 50/s, duration: 5s, warmup: 1s, entry: order.create}}
"""
    found = [
        finding({"op": "batch", "edge": f"order->s{n}.ask", "size": 6}, promised_ms=20.0 - n)
        for n in range(count)
    ]
    return text, found


def test_more_than_six_are_screened_together_and_confirmed_one_by_one() -> None:
    text, found = many(9)
    helps = {f"order->s{n}.ask": 0.8 for n in (0, 3, 5)}
    alone = {f"batch-order-s{n}-ask": 0.8 for n in (0, 3, 5)}
    stages = Written([found], {**helps, **alone})
    course = Course()
    prove(asked(text=text), stages, course)
    assert {each.name for each in course.steps if each.held} == set(alone)
    stage, arms, rounds = stages.ran[1]
    assert (stage, len(arms), rounds) == ("1-factors", 12, 48)
    (screen,) = course.screens
    assert screen.design == "plackett_burman"
    saved = {each.refactor: each.saved_ms for each in screen.effects}
    for name, ms in saved.items():
        assert ms == pytest.approx(4.0 if name in alone else 0.0, abs=0.6)
    fell = next(each for each in course.steps if not each.held)
    assert fell.why.startswith("not in the screen: ")
    assert (fell.verdict, fell.entry) == (None, "order.create")


def test_of_alternatives_one_is_screened_with_others() -> None:
    text, found = many(7)
    found.append(finding({"op": "batch", "edge": "order->s0.ask", "size": 3}, promised_ms=1.0))
    stages = Written([found], {"order->s0.ask": 0.7, "batch-order-s0-ask": 0.7})
    course = Course()
    prove(asked(text=text), stages, course)
    assert step(course, "batch-order-s0-ask-2").why == (
        "an alternative to batch-order-s0-ask, which promises more: both change order->s0.ask"
    )


def test_more_than_eleven_are_not_screened_at_once() -> None:
    text, found = many(13)
    course = Course()
    prove(asked(text=text), Written([found], {}), course)
    left = [each.name for each in course.steps if each.why == "not tried: 11 at once are the most"]
    assert left == ["batch-order-s11-ask", "batch-order-s12-ask"]


def test_where_the_budget_has_no_room_for_all_the_best_are_screened_by_themselves() -> None:
    text, found = many(9)
    stages = Written([found], {}, room=2 + 40)
    course = Course()
    prove(asked(text=text), stages, course)
    assert [stage for stage, *_ in stages.ran] == ["1-look", "1-screen", "1-confirm", "final"]
    assert [each.name for each in course.steps if each.held] == ["batch-order-s0-ask"]


def test_a_resumed_proof_goes_as_deep_as_it_had_gone() -> None:
    finds = [[finding(TAKE)], [finding(QUOTE)]]
    there = frozenset({"1-look", "1-screen", "1-confirm", "2-look", "2-screen", "2-confirm"})
    course = proved(Written(finds, {}, room=0, there=there))
    assert [each.name for each in course.steps if each.held] == [TAKEN_BY, QUOTED_BY]


def test_one_arm_without_a_verdict_ends_nothing() -> None:
    stages = Written([[finding(TAKE), finding(QUOTE)]], {}, untold=frozenset({QUOTED_BY}))
    course = proved(stages)
    assert step(course, TAKEN_BY).held
    assert step(course, QUOTED_BY).why == "not in the screen: 2 pairs"


@pytest.mark.parametrize("stage", ["2-look", "2-screen", "2-confirm"])
def test_what_held_is_proved_also_where_a_deeper_look_is_void(stage: str) -> None:
    stages = Written([[finding(TAKE)], [finding(QUOTE)]], {}, void=stage)
    course = proved(stages)
    assert [each.name for each in course.kept] == [TAKEN_BY]
    assert course.final is not None
    assert any("void" in said or "valid" in said for said in stages.said)


def test_a_hedge_among_many_is_confirmed_without_a_screen() -> None:
    """What it does to the slowest requests does not add up in the middle ones."""
    text, found = many(8)
    found.append(finding({**HEDGED, "edge": "order->s1.ask"}, promised_ms=1.0))
    text = text.replace("s1: {", "s1: {replicas: 2, ")
    name = "hedge-order-s1-ask"
    stages = Written([found], {name: 1.0, f"{name} P95": 0.6})
    course = Course()
    prove(asked(text=text), stages, course)
    assert step(course, name).held
    assert step(course, name).confirmed


@pytest.mark.parametrize("stage", ["1-look", "1-screen", "1-confirm"])
def test_a_void_stage_ends_it_and_what_was_found_before_is_kept(stage: str) -> None:
    course = Course()
    with pytest.raises(Void, match=stage if stage != "1-look" else "look 1"):
        prove(asked(), Written([[finding(TAKE)]], {}, void=stage), course)
    assert not course.finished
