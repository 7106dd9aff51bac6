"""Refactors: what each changes, what it must not change, and when it refuses."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.errors import BadInput
from services.scenario.capacity import calls_by_edge, shape
from services.scenario.file.parser import bundled, parse_text
from services.scenario.file.validation import validate
from services.scenario.model import (
    Edge,
    EdgeRef,
    Limit,
    Origin,
    Refactor,
    Scenario,
    Step,
    Steps,
    Target,
)
from services.scenario.refactors import (
    apply,
    apply_refactor,
    read_refactor,
    to_mapping,
    variant_scenarios,
)
from services.scenario.refactors.asyncify import Asyncify
from services.scenario.refactors.batch import Batch
from services.scenario.refactors.bound import Bound
from services.scenario.refactors.cache import Cache
from services.scenario.refactors.hedge import Hedge
from services.scenario.refactors.merge import Merge
from services.scenario.refactors.operator import of_edge
from services.scenario.refactors.parallelize import Parallelize
from services.scenario.refactors.protocol import ChangeProtocol
from services.scenario.steps.calls import Call, Publish
from services.scenario.steps.groups import Parallel, Repeat, Sequence
from services.scenario.text.source import tree
from services.scenario.tree import operations, walk
from tests.scenario.build import scenario, steps_of
from tests.scenario.strategies import talks

ONE = EdgeRef("a", None, "b", "one")


# -- what never changes ------------------------------------------------------------------------


def runs(
    steps: Steps, shift: int = 0, *, per_item: bool = False
) -> Iterator[tuple[Step, int, bool]]:
    """(step, iteration, run for each item carried) of every time that a step may run.

    Iteration r of a repeat shifts numbers by r * count; nested repeats compose. A fallback runs
    under the number of an item of the failed call.
    """
    for step in steps:
        each = per_item or step.per_item
        yield step, shift, each
        for block in step.blocks:
            if isinstance(step, Repeat):
                for r in range(step.times):
                    yield from runs(block, shift * step.times + r, per_item=each)
            elif isinstance(step, Call | Publish):
                for _, number in numbers(step, shift):
                    yield from runs(block, number, per_item=each)
            else:
                yield from runs(block, shift, per_item=each)


def numbers(step: Call | Publish, shift: int) -> Iterator[tuple[str, int]]:
    """(step, number) of every item that a step sends."""
    for origin in step.edge.origins:
        for number in range(origin.count):
            yield origin.step, shift * origin.count + number


def items(steps: Steps) -> Iterator[tuple[str, int, bool]]:
    """(step, number, run for each item carried) of every item that the steps send."""
    for step, shift, each in runs(steps):
        if isinstance(step, Call | Publish):
            for name, number in numbers(step, shift):
                yield name, number, each


Choices = Counter[tuple[Target, Target, str, int, bool, object]]


def choices(scenario: Scenario) -> Choices:
    """Every item of every operation with all that its draws depend on."""
    found: Choices = Counter()
    for service, operation in operations(scenario):
        at = Target(service.name, operation.name)
        edges: dict[str, Edge] = {}
        for step in walk(operation.steps):
            if isinstance(step, Call | Publish):
                edges |= dict.fromkeys((o.step for o in step.edge.origins), step.edge)
        for sent, number, each in items(operation.steps):
            edge = edges[sent]
            drawn = (edge.probability, edge.request_bytes, edge.response_bytes, edge.key_distinct)
            found[at, edge.target, sent, number, each, drawn] += 1
    return found


def others(scenario: Scenario) -> Counter[tuple[Step, int, bool]]:
    """Every run of the steps that make draws of their own and are no edges: they must stay."""
    return Counter(
        (
            replace(
                step if not step.blocks else step.with_blocks(((),) * len(step.blocks)),
                after=(),
                per_item=False,
            ),
            shift,
            each,
        )
        for _, operation in operations(scenario)
        for step, shift, each in runs(operation.steps)
        if step.draws and not isinstance(step, Call | Publish)
    )


def refactors_for(scenario: Scenario) -> list[Refactor]:
    found: list[Refactor] = [
        ChangeProtocol(None, "grpc", all=True),
        ChangeProtocol(None, "kafka", all=True),
    ]
    for service, operation in operations(scenario):
        found += [Parallelize(Target(service.name, operation.name), m) for m in (None, 2, 5)]
        for step in walk(operation.steps):
            if isinstance(step, Call | Publish):
                to = step.edge.target
                ref = EdgeRef(service.name, None, to.service, to.operation)
                here = replace(ref, caller_operation=operation.name)
                found += [Batch(ref, 3), Batch(here, 50), Asyncify(ref), Bound(ref, 2)]
                found += [Hedge(here, None), ChangeProtocol(ref, "http")]
    return found


unhurried = settings(deadline=None, suppress_health_check=list(HealthCheck))


@unhurried
@given(talks(), st.data())
def test_every_item_makes_the_same_choices_before_and_after(
    base: Scenario, data: st.DataObject
) -> None:
    changed = base
    for refactor in data.draw(
        st.lists(st.sampled_from(refactors_for(base)), min_size=1, max_size=3)
    ):
        if isinstance(refactor, Asyncify) and any(
            s.blocks for s in of_edge(changed, refactor.edge)
        ):
            continue  # A fallback goes with the answer that it stands in for.
        with suppress(BadInput):
            changed = apply_refactor(changed, refactor)
    assert choices(changed) == choices(base)
    assert others(changed) == others(base)
    assert [p for p in validate(changed) if p.severity == "error"] == []


@unhurried
@given(talks(), st.data())
def test_every_wait_for_a_result_stays(base: Scenario, data: st.DataObject) -> None:
    """What had to wait for a step still waits for it, or for the step that holds it now."""
    refactor = data.draw(st.sampled_from(refactors_for(base)))
    if isinstance(refactor, Asyncify) and any(s.blocks for s in of_edge(base, refactor.edge)):
        return  # A fallback, and what it waits for, goes with the answer that it stands in for.
    changed = base
    with suppress(BadInput):
        changed = apply_refactor(base, refactor)
    assert waits(base) <= waits(changed)


def waits(scenario: Scenario) -> set[tuple[str, str]]:
    """(item's step, item's step it waits for), over all lists of steps."""
    found: set[tuple[str, str]] = set()

    def look(steps: Steps) -> None:
        sends = {s.id: {step for step, *_ in items((s,))} for s in steps}
        needs: dict[str, set[str]] = {}
        for step in steps:
            needs[step.id] = set(step.after).union(*(needs[i] for i in step.after))
            found.update(
                (later, earlier)
                for need in needs[step.id]
                for earlier in sends[need]
                for later in sends[step.id]
            )
            for block in step.blocks:
                look(block)

    for _, operation in operations(scenario):
        look(operation.steps)
    return found


@unhurried
@given(talks(), st.integers(2, 9))
def test_parallelize_never_has_more_than_max_in_flight(base: Scenario, limit: int) -> None:
    bounds = [shape(base).fan_out, limit]
    changed = base
    for operation in ("go", "come"):
        with suppress(BadInput):
            changed = apply_refactor(changed, Parallelize(Target("a", operation), limit))
    assert shape(changed).fan_out <= max(bounds)


@unhurried
@given(talks(), st.integers(2, 5))
def test_batch_never_makes_more_calls_nor_more_of_them_at_once(base: Scenario, size: int) -> None:
    changed = base
    with suppress(BadInput):
        changed = apply_refactor(base, Batch(ONE, size))
    assert shape(changed).calls_worst <= shape(base).calls_worst
    before = calls_by_edge(base)
    assert all(calls <= before[edge] + 1e-9 for edge, calls in calls_by_edge(changed).items())
    assert shape(changed).fan_out <= shape(base).fan_out


@pytest.mark.parametrize("name", bundled())
def test_variants_of_bundled_scenarios_keep_every_choice(name: str) -> None:
    base = parse_text(bundled()[name])
    for changed in variant_scenarios(base).values():
        assert choices(changed) == choices(base)


# -- batch -------------------------------------------------------------------------------------


def batched(steps: str, size: int = 20) -> tuple[Step, ...]:
    return steps_of(apply_refactor(scenario(steps), Batch(ONE, size)))


def only_edge(steps: tuple[Step, ...]) -> Edge:
    (call,) = steps
    assert isinstance(call, Call)
    return call.edge


@pytest.mark.parametrize(
    "steps",
    [
        "- {call: b.one, id: x, count: 6}",
        "- {repeat: {times: 6, steps: [{call: b.one, id: x}]}}",
        "- {repeat: {times: 2, steps: [{call: b.one, id: x, count: 3}]}}",
        "- {repeat: {times: 2, steps: [{repeat: {times: 3, steps: [{call: b.one, id: x}]}}]}}",
    ],
)
def test_batch_makes_one_edge_of_repeats(steps: str) -> None:
    edge = only_edge(batched(steps))
    assert (edge.count, edge.batch, edge.origins) == (6, 20, (Origin("x", 6),))


def test_batch_joins_calls_in_a_row_and_keeps_where_their_items_come_from() -> None:
    edge = only_edge(
        batched("- {call: b.one, id: x}\n- {call: b.one, id: y, count: 2}\n- {call: b.one, id: z}")
    )
    assert edge.count == 4
    assert edge.origins == (Origin("x", 1), Origin("y", 2), Origin("z", 1))


def test_batch_joins_a_row_inside_a_repeat_and_then_the_repeat() -> None:
    edge = only_edge(
        batched(
            "- repeat: {times: 3, steps: [{call: b.one, id: x}, {call: b.one, id: y, count: 2}]}"
        )
    )
    assert (edge.count, edge.origins) == (9, (Origin("x", 3), Origin("y", 6)))


@pytest.mark.parametrize(
    "between",
    [
        "- {call: c.one}",
        "- {work: 1ms}",
        "- {sleep: {uniform: [1ms, 2ms]}}",
        "- {call: b.one, request: 9B}",  # the same edge, but not in every option
        "- {call: b.one, protocol: grpc}",
        "- {call: c.one, on_error: {fallback: [{fail: 100%}]}}",
        "- {choice: [{weight: 1, steps: [call: c.one]}]}",
    ],
)
def test_batch_joins_calls_with_others_between_at_the_place_of_the_first(between: str) -> None:
    steps = batched(f"- {{call: b.one, count: 2}}\n{between}\n- {{call: b.one, count: 2}}")
    assert [step.id for step in steps] == ["a.go/1", "a.go/2"]
    edge = only_edge(steps[:1])
    assert edge.origins == (Origin("a.go/1", 2), Origin("a.go/3", 2))


def test_batch_joins_each_of_two_edges_that_take_turns() -> None:
    base = scenario("\n".join(["- call: b.one\n- {call: b.two}"] * 3))
    one = apply_refactor(base, Batch(ONE, 3))
    both = apply_refactor(one, Batch(replace(ONE, operation="two"), 3))
    assert [len(steps_of(s)) for s in (base, one, both)] == [6, 4, 2]


@pytest.mark.parametrize(
    ("steps", "ids"),
    [
        # What lies between gives what the later one needs: it stays where it is.
        (
            "- {call: b.one, id: x}\n- {call: c.one, id: y}\n"
            "- {call: b.one, id: z, after: y}\n- {call: b.one, id: w}",
            ["x", "y", "z"],
        ),
        # The first of the next.
        ("- {call: b.one, id: x}\n- {fail: 1%, id: f}\n- {call: b.one, id: z, count: 2}", "xfz"),
        (
            "- {call: b.one, id: x}\n- {choice: [{weight: 1, steps: [fail: 1%]}], id: f}\n"
            "- {call: b.one, id: z, count: 2}",
            "xfz",
        ),
    ],
)
def test_batch_moves_no_call_before_what_decides_it(steps: str, ids: list[str] | str) -> None:
    assert [step.id for step in batched(steps)] == list(ids)


def test_batch_takes_calls_out_of_a_repeat_that_goes_on_without_them() -> None:
    call, repeat, last = batched(
        """
        - repeat:
            times: 3
            steps: [{sleep: 1ms}, {call: b.one, id: x, count: 2}, {call: c.one, id: y, after: x}]
          id: r
        - {work: 1ms, after: r}
        """
    )
    assert isinstance(repeat, Repeat)
    edge = only_edge((call,))
    assert (call.id, edge.count, edge.origins) == ("x", 6, (Origin("x", 6),))
    assert (repeat.id, repeat.times, repeat.after) == ("r", 3, ("x",))
    assert [(step.id, step.after) for step in repeat.steps] == [("a.go/1.1", ()), ("y", ())]
    assert last.after == ("x", "r")


def test_batch_takes_calls_out_of_repeats_in_repeats_and_joins_them_with_those_around() -> None:
    steps = batched(
        """
        - {call: b.one, id: x}
        - repeat:
            times: 2
            steps: [{repeat: {times: 3, steps: [{call: b.one, id: y}, {call: c.one}]}}]
        - {call: b.one, id: z}
        """
    )
    edge = only_edge(steps[:1])
    assert edge.origins == (Origin("x", 1), Origin("y", 6), Origin("z", 1))
    assert [type(step) for step in steps] == [Call, Repeat]


def test_batch_leaves_a_repeat_in_a_group_in_one_place() -> None:
    (group,) = batched(
        "- parallel: [{repeat: {times: 3, steps: [call: b.one, sleep: 1ms]}}, {call: c.one}]"
    )
    assert isinstance(group, Parallel)
    first, _ = group.steps
    assert isinstance(first, Sequence)
    assert only_edge(first.steps[:1]).count == 3


def test_batch_never_makes_a_call_carry_less() -> None:
    one, two = batched("- {call: b.one, count: 40, batch: 10}\n- {call: b.one, count: 4}", 3)
    assert [only_edge((step,)).batch for step in (one, two)] == [10, 3]


def test_batch_never_joins_a_call_with_one_that_needs_its_answer() -> None:
    steps = batched("- {call: b.one, id: x, count: 3}\n- {call: b.one, id: y, after: x, count: 3}")
    assert [step.id for step in steps] == ["x", "y"]
    assert steps[1].after == ("x",)


def test_who_was_after_a_joined_step_is_after_the_joined_one() -> None:
    steps = batched(
        """
        - {work: 1ms, id: w}
        - {call: b.one, id: x}
        - {call: b.one, id: y, after: w}
        - {repeat: {times: 2, steps: [{call: b.one, id: z}]}, id: r}
        - {call: c.one, id: last, after: [y, r]}
        """
    )
    assert [step.id for step in steps] == ["w", "x", "last"]
    assert steps[1].after == ("w",)
    assert steps[2].after == ("x",)


def test_batch_in_a_parallel_group_keeps_what_may_be_in_flight() -> None:
    base = scenario(
        "- parallel: {max: 3, steps: [call: b.one, call: b.one, call: b.one, call: b.one]}"
    )
    (parallel,) = steps_of(apply_refactor(base, Batch(ONE, 2)))
    assert isinstance(parallel, Parallel)
    edge = only_edge(parallel.steps)
    assert (edge.count, edge.batch, edge.max_parallel) == (4, 2, 3)


@pytest.mark.parametrize(
    ("steps", "size", "reason"),
    [
        ("- call: b.one", 20, "one item to send"),
        ("- {call: b.one, count: 6, batch: 10}", 8, "makes no call"),
        ("- {call: b.one, count: 6}", 1, "makes no call"),
        ("- call: c.one", 20, "nothing calls a->b.one"),
        ("- {call: b.one, id: x}\n- {call: b.one, after: x}", 20, "needs what the one before gave"),
        (
            "- {call: b.one, timeout: 1s}\n- call: b.one",
            20,
            "calls in a row differ in timeout",
        ),
        ("- call: b.one\n- {call: b.one, per_item: true}", 20, "differ in per_item"),
        ("- call: b.one\n- publish: b.one", 20, "differ in whether they are published"),
        (
            "- {call: b.one, on_error: {fallback: [sleep: 1ms]}}\n"
            "- {call: b.one, on_error: {fallback: [sleep: 1ms]}}",
            20,
            "differ in on_error",
        ),
        (
            "- call: b.one\n- {sleep: 1ms, id: y}\n- {call: b.one, id: z, after: y}",
            20,
            "the call 'z' needs what 'y' gives, which lies between",
        ),
        (
            "- call: b.one\n- {fail: 1%, id: y}\n- call: b.one",
            20,
            "the step 'y' between its calls may end the operation",
        ),
        (
            "- repeat: {times: 3, steps: [{sleep: 1ms, id: y}, {call: b.one, id: x, after: y}]}",
            20,
            "in the repeat around it 'x' needs what 'y' gives",
        ),
        (
            "- repeat: {times: 3, steps: [call: b.one, fail: 1%]}",
            20,
            "a step of the repeat around it may end the operation",
        ),
        (
            "- repeat: {times: 3, steps: [sequence: [call: b.one, call: c.one]]}",
            20,
            "it lies in a group or a choice of the repeat around it",
        ),
        (
            "- call: b.one\n- sequence: [call: b.one]",
            20,
            "its calls lie in different groups, choices or repeats",
        ),
        (
            "- {call: c.one, count: 5, on_error: {fallback: [call: b.one]}}",
            20,
            "for each call of c.one that fails\n  batch a.go->c.one: a call that fails runs it",
        ),
        (
            "- repeat: {times: 5, steps: [{call: c.one, on_error: {fallback: [call: b.one]}}]}",
            20,
            "for each call of c.one that fails\n  batch a.go->c.one: a call that fails runs it",
        ),
    ],
)
def test_batch_refuses_where_nothing_would_change(steps: str, size: int, reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        batched(steps, size)


# -- parallelize -------------------------------------------------------------------------------


def parallelized(steps: str, limit: int | None = None) -> tuple[Step, ...]:
    return steps_of(apply_refactor(scenario(steps), Parallelize(Target("a", "go"), limit)))


def test_adjacent_calls_become_one_group_in_which_after_holds() -> None:
    steps = parallelized(
        """
        - work: 1ms
        - {call: b.one, id: x}
        - {call: b.two, id: y}
        - {call: c.one, id: z, after: x}
        - {work: 1ms, id: w, after: [y]}
        """
    )
    first, group, last = steps
    assert isinstance(group, Parallel)
    assert [(step.id, step.after) for step in group.steps] == [("x", ()), ("y", ()), ("z", ("x",))]
    assert group.max_parallel is None
    assert last.after == (group.id,)
    assert first.id == "a.go/1"


def test_a_group_waits_for_what_its_members_waited_for() -> None:
    steps = parallelized(
        "- {work: 1ms, id: w}\n- {call: b.one, id: x, after: w}\n- {call: b.two, id: y}"
    )
    assert steps[1].after == ("w",)
    assert isinstance(steps[1], Parallel)
    assert [step.after for step in steps[1].steps] == [(), ()]


@pytest.mark.parametrize(
    "steps",
    [
        "- {call: b.one, id: x, count: 6}",
        "- {repeat: {times: 6, steps: [{call: b.one, id: x}]}}",
    ],
)
@pytest.mark.parametrize("limit", [None, 4])
def test_the_calls_of_one_edge_run_at_once(steps: str, limit: int | None) -> None:
    edge = only_edge(parallelized(steps, limit))
    assert (edge.count, edge.max_parallel, edge.origins) == (6, limit, (Origin("x", 6),))


@pytest.mark.parametrize("limit", range(2, 14))
def test_never_more_than_max_are_in_flight(limit: int) -> None:
    base = scenario(
        "- {call: b.one, count: 6}\n- {call: b.two, count: 6}\n- {call: c.one}\n- sequence:\n"
        "    - {call: b.one, count: 3}\n    - {call: c.one}"
    )
    changed = apply_refactor(base, Parallelize(Target("a", "go"), limit))
    assert 1 < shape(changed).fan_out <= limit


def test_a_repeat_of_several_steps_keeps_its_iterations_in_turn() -> None:
    (repeat,) = parallelized("- repeat: {times: 3, steps: [call: b.one, call: c.one]}")
    assert isinstance(repeat, Repeat)
    (group,) = repeat.steps
    assert isinstance(group, Parallel)
    assert len(group.steps) == 2


def test_calls_inside_the_members_of_a_group_run_at_once() -> None:
    (group,) = parallelized(
        "- {parallel: [{sequence: [call: b.one, call: b.two]}, {sleep: 1ms}], id: p}"
    )
    assert isinstance(group, Parallel)
    assert group.id == "p"
    sequence, _ = group.steps
    assert isinstance(sequence, Sequence)
    assert [type(step) for step in sequence.steps] == [Parallel]


def test_a_group_gives_its_members_no_more_than_max_in_flight() -> None:
    base = scenario(
        "- parallel:\n  - {call: b.one, count: 9, max_parallel: 3}\n"
        "  - {sequence: [call: b.one, call: c.one]}"
    )
    changed = apply_refactor(base, Parallelize(Target("a", "go"), 5))
    assert shape(changed).fan_out == 5
    with pytest.raises(BadInput, match="within max: 3"):
        apply_refactor(base, Parallelize(Target("a", "go"), 3))


def test_work_and_sleep_between_calls_run_beside_them_and_those_around_stay() -> None:
    first, group, last = parallelized(
        "- work: 1ms\n- {call: b.one, id: x}\n- {work: 2ms, id: w, after: x}\n- sleep: 1ms\n"
        "- {call: b.two, id: y}\n- sleep: 4ms"
    )
    assert (first.id, last.id) == ("a.go/1", "a.go/6")
    assert isinstance(group, Parallel)
    assert [(step.id, step.after) for step in group.steps] == [
        ("x", ()),
        ("y", ()),
        ("w", ("x",)),
        ("a.go/4", ()),
    ]


@pytest.mark.parametrize(
    ("steps", "why"),
    [
        ("- work: 1ms", "it makes none"),
        ("- call: b.one", "it makes one"),
        ("- {call: b.one, id: x}\n- {call: c.one, id: y, after: x}", "'y' is after 'x'"),
        (
            "- {call: b.one, id: x}\n- {work: 1ms, after: x, id: w}\n- {call: c.one, after: w}",
            "'a.go/3' is after 'w'",
        ),
        ("- {call: b.one, count: 3, max_parallel: all}", "they do so already"),
        ("- parallel: [call: b.one, call: b.two]", "they do so already"),
        (
            "- parallel: [{call: b.one, id: x}, {call: b.two, id: y, after: x}]",
            "'y' is after 'x'",
        ),
        ("- {call: b.one, count: 3, batch: 3}", "it makes one"),
        (
            "- {repeat: {times: 3, steps: [work: 1ms, call: b.one]}, id: r}",
            "the rounds of 'r' follow",
        ),
        (
            "- choice: [{weight: 1, steps: [call: b.one]}, {weight: 1, steps: [call: c.one]}]",
            "no two of them lie in one list",
        ),
        ("- call: b.one\n- {fail: 1%, id: f}\n- call: c.one", "'f' is a fail"),
        (
            "- call: b.one\n- {choice: [{weight: 1, steps: [call: c.one]}], id: f}",
            "'f' is a choice",
        ),
    ],
)
def test_parallelize_refuses_where_nothing_could_run_at_once(steps: str, why: str) -> None:
    with pytest.raises(BadInput, match=f"no adjacent calls that could run at once: {why}"):
        parallelized(steps)


def test_parallelize_refuses_an_operation_that_is_not_there() -> None:
    with pytest.raises(BadInput, match=r"no operation a\.gone"):
        apply_refactor(scenario("- call: b.one"), Parallelize(Target("a", "gone"), None))


# -- asyncify, protocol, bound, hedge ------------------------------------------------------------


def test_asyncify_publishes_and_keeps_id_and_items() -> None:
    base = scenario("- {call: b.one, id: x, count: 3, retry: {max: 1}}\n- {call: c.one}")
    published, call = steps_of(apply_refactor(base, Asyncify(ONE)))
    assert isinstance(published, Publish)
    assert isinstance(call, Call)
    assert (published.id, published.edge.mode, published.edge.protocol) == ("x", "publish", "kafka")
    assert published.edge.origins == (Origin("x", 3),)
    assert published.edge.retry is not None


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        ("- {call: b.one, id: x}\n- {work: 1ms, id: w, after: x}", "'w' is after 'x'"),
        (
            "- {sequence: [{call: b.one, id: x}], id: s}\n- {call: c.one, id: w, after: s}",
            "'w' is after 'x'",
        ),
        (
            "- sequence: [{call: b.one, id: x}, {fail: 1%, id: w, after: x}]",
            "'w' is after 'x'",
        ),
        ("- publish: b.one", "published already"),
    ],
)
def test_asyncify_refuses_where_an_answer_is_needed(steps: str, reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        apply_refactor(scenario(steps), Asyncify(ONE))


def test_protocol_moves_calls_and_leaves_publishes() -> None:
    base = scenario("- call: b.one\n- call: c.one\n- publish: b.two")
    changed = steps_of(apply_refactor(base, ChangeProtocol(None, "kafka", all=True)))
    assert [s.edge.protocol for s in changed if isinstance(s, Call)] == ["kafka", "kafka"]
    one = steps_of(apply_refactor(base, ChangeProtocol(ONE, "grpc")))
    assert [s.edge.protocol for s in one if isinstance(s, Call)] == ["grpc", "http"]
    assert isinstance(changed[2], Publish)


@pytest.mark.parametrize(
    ("steps", "refactor", "reason"),
    [
        ("- publish: b.one", ChangeProtocol(None, "grpc", all=True), "publishes stay on Kafka"),
        ("- publish: b.one", ChangeProtocol(ONE, "grpc"), "publishes stay on Kafka"),
        ("- call: b.one", ChangeProtocol(None, "http", all=True), "over http already"),
        (
            "- {call: b.one, hedge: {after: 1ms}}",
            ChangeProtocol(None, "kafka", all=True),
            "is hedged",
        ),
        ("- publish: b.one", Hedge(ONE, None), "no answer to wait for"),
        ("- {call: b.one, protocol: kafka}", Hedge(ONE, None), "goes over Kafka"),
        ("- call: c.one", Hedge(EdgeRef("a", None, "c", "one"), None), "has one replica"),
        ("- {call: b.one, hedge: {after: p95}}", Hedge(ONE, None), "hedged so already"),
        ("- call: b.one", Cache(ONE, "request", None), "has no key"),
        ("- publish: b.one", Merge(ONE), "is published"),
    ],
)
def test_an_operator_that_does_not_apply_says_why(
    steps: str, refactor: Refactor, reason: str
) -> None:
    with pytest.raises(BadInput, match=reason):
        apply_refactor(scenario(steps), refactor)


def test_bound_is_one_limit_for_all_steps_of_the_edge() -> None:
    steps = "- parallel: [{call: b.one, count: 12, max_parallel: all}, {call: b.one}]"
    base = scenario(steps)
    once = apply_refactor(base, Bound(ONE, 20))
    assert [step.edge.limits for step in of_edge(once, ONE)] == [(Limit(ONE, 20),)] * 2
    other = apply_refactor(once, Bound(ONE, 4))
    assert [step.edge.limits for step in of_edge(other, ONE)] == [(Limit(ONE, 4),)] * 2
    narrow = EdgeRef("a", "go", "b", "one")
    both = apply_refactor(other, Bound(narrow, 2))
    assert {step.edge.limits for step in of_edge(both, ONE)} == {
        (Limit(ONE, 4), Limit(narrow, 2)),
    }
    with pytest.raises(BadInput, match="is bounded so already"):
        apply_refactor(both, Bound(narrow, 2))


def test_hedge_sets_its_delay_on_every_call_of_the_edge() -> None:
    (call,) = steps_of(apply_refactor(scenario("- call: b.one"), Hedge(ONE, 20_000_000)))
    assert isinstance(call, Call)
    assert call.edge.hedge is not None
    assert call.edge.hedge.after_ns == 20_000_000


def test_an_edge_with_an_operation_means_that_operation_alone() -> None:
    two = parse_text(
        """
        version: 1
        services:
          a:
            operations: {go: [{call: b.one, count: 5}], come: [{call: b.one, count: 5}]}
          b: {operations: {one: [work: 1ms]}}
        load: {rate: 1/s, entries: [a.go, a.come]}
        """
    )
    changed = apply_refactor(two, Batch(replace(ONE, caller_operation="go"), 5))
    batches = [only_edge(steps_of(changed, "a", o)).batch for o in ("go", "come")]
    assert batches == [5, 1]


# -- variants, and the mapping form --------------------------------------------------------------


def test_a_variant_brings_its_own_expectations_or_keeps_those_of_the_base() -> None:
    checkout = parse_text(bundled()["checkout"])
    assert apply(checkout, "grpc").expectations == checkout.expectations
    assert [e.kind for e in apply(checkout, "tuned").expectations] == ["chatty.parallel"]
    assert apply(checkout, "baseline") is checkout


def test_an_unknown_variant_is_told_the_close_one() -> None:
    with pytest.raises(BadInput) as refused:
        apply(parse_text(bundled()["checkout"]), "batchd")
    assert refused.value.hint == "did you mean 'batched'?"


def back(written: dict[str, object]) -> Refactor:
    return read_refactor("x.yaml", tree(json.dumps(written), "x.yaml"))


@pytest.mark.parametrize(
    ("refactor", "written"),
    [
        (Batch(ONE, 20), {"op": "batch", "edge": "a->b.one", "size": 20}),
        (
            Batch(replace(ONE, caller_operation="go"), 2),
            {"op": "batch", "edge": "a.go->b.one", "size": 2},
        ),
        (Parallelize(Target("a", "go"), None), {"op": "parallelize", "at": "a.go", "max": None}),
        (Parallelize(Target("a", "go"), 4), {"op": "parallelize", "at": "a.go", "max": 4}),
        (Asyncify(ONE), {"op": "asyncify", "edge": "a->b.one"}),
        (ChangeProtocol(None, "grpc", all=True), {"op": "protocol", "all": True, "to": "grpc"}),
        (ChangeProtocol(ONE, "kafka"), {"op": "protocol", "edge": "a->b.one", "to": "kafka"}),
        (Cache(ONE, "request", None), {"op": "cache", "edge": "a->b.one", "scope": "request"}),
        (
            Cache(ONE, "process", 5_000_000),
            {"op": "cache", "edge": "a->b.one", "scope": "process", "ttl": "5ms"},
        ),
        (Merge(ONE), {"op": "merge", "edge": "a->b.one"}),
        (Bound(ONE, 10), {"op": "bound", "edge": "a->b.one", "max": 10}),
        (Hedge(ONE, 20_000_000), {"op": "hedge", "edge": "a->b.one", "after": "20ms"}),
        (Hedge(ONE, None), {"op": "hedge", "edge": "a->b.one", "after": "p95"}),
    ],
)
def test_refactors_are_written_as_a_file_writes_them(
    refactor: Refactor, written: dict[str, object]
) -> None:
    assert to_mapping(refactor) == written
    assert back(written) == refactor


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"op": "batch", "edge": "a->b.one", "sise": 2}, "unknown key 'sise'"),
        ({"edge": "a->b.one"}, "lacks 'op'"),
        ({"op": "batch", "edge": "a->b.one", "size": "many"}, "whole number"),
    ],
)
def test_a_wrong_refactor_is_bad_input(written: dict[str, object], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        back(written)
