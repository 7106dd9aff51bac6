"""``batch``: the edge carries ``size`` items a call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Final

from services.errors import BadInput
from services.scenario.model import (
    EdgeRef,
    OnErrorFallback,
    Operation,
    Refactor,
    Scenario,
    Service,
    Step,
    Steps,
)
from services.scenario.refactors.joining import joined, kind, may_end, options
from services.scenario.refactors.operator import (
    EDGE,
    Operator,
    calls_of,
    matches,
    of_edge,
    with_edge,
)
from services.scenario.steps.calls import Talk
from services.scenario.steps.groups import Repeat
from services.scenario.text.edges import written_options
from services.scenario.text.forms import Key, integer
from services.scenario.tree import operations, walk, with_operations


@dataclass(frozen=True, slots=True)
class Batch(Refactor):
    edge: EdgeRef
    size: int


def _apply(scenario: Scenario, refactor: Batch) -> Scenario:
    calls_of(scenario, "batch", refactor.edge)

    def join(service: Service, operation: Operation) -> Operation:
        is_edge = partial(matches, refactor.edge, service.name, operation.name)
        return replace(operation, steps=joined(operation.steps, is_edge, limit=1))

    together = with_operations(scenario, join)
    edges = [step.edge for step in of_edge(together, refactor.edge)]
    if all(edge.count == 1 for edge in edges):
        raise _nothing_to_join(scenario, together, refactor)
    if all(min(edge.count, refactor.size) <= edge.batch for edge in edges):
        carried = max(edge.batch for edge in edges)
        raise BadInput(
            f"batch: a size of {refactor.size} makes no call of {refactor.edge} carry more",
            hint=f"it carries {carried} a call already; give a larger size",
        )

    def filled(talk: Talk) -> Talk:
        size = max(talk.edge.batch, refactor.size)
        return replace(talk, edge=replace(talk.edge, batch=size))

    return with_edge(together, refactor.edge, filled)


def _nothing_to_join(scenario: Scenario, together: Scenario, refactor: Batch) -> BadInput:
    """Where every step of the edge sends one item, although what can be joined is."""
    hint = "calls of one list are joined where they agree in every option and can go together"
    for service, operation in operations(together):
        is_edge = partial(matches, refactor.edge, service.name, operation.name)
        for why, around in _apart(operation.steps, is_edge, repeated=False):
            if around is not None:
                to = around.edge.target
                ref = EdgeRef(service.name, operation.name, to.service, to.operation)
                with suppress(BadInput):
                    _apply(scenario, replace(refactor, edge=ref))
                    hint = f"batch {ref}: a call that fails runs it once, whatever it carries"
            return BadInput(
                f"batch: {refactor.edge} has one item to send at a time, and {why}", hint=hint
            )
    return BadInput(f"batch: {refactor.edge} has one item to send", hint=hint)


def _apart(
    steps: Steps, is_edge: Callable[[Step], bool], *, repeated: bool
) -> Iterator[tuple[str, Talk | None]]:
    """What keeps calls of the edge from being one, and the call whose fallback does, if one does.
    ``repeated`` is whether the steps run several times."""

    def holds(steps: Steps) -> bool:
        return any(map(is_edge, walk(steps)))

    of = [i for i, step in enumerate(steps) if is_edge(step)]
    for i, j in pairwise(of):
        yield _between(steps[i : j + 1]), None
    for step in steps:
        for block in step.blocks:
            again = repeated or (isinstance(step, Repeat) and step.times > 1)
            yield from _apart(block, is_edge, repeated=again)
        often = repeated or (isinstance(step, Talk) and step.edge.count > 1)
        if isinstance(step, Repeat) and step.times > 1 and holds(step.steps):
            yield _kept(step, is_edge), None
        elif isinstance(step, Talk) and often and any(map(holds, step.blocks)):
            yield (
                f"the fallback that makes it runs for each call of {step.edge.target} that fails",
                step,
            )
    if sum(holds((step,)) for step in steps) > 1:
        yield "its calls lie in different groups, choices or repeats", None


def _between(steps: Steps) -> str:
    first, *others, last = steps
    assert isinstance(first, Talk)
    assert isinstance(last, Talk)
    if first.id in last.after:
        return "the call that follows needs what the one before gave"
    if kind(first) != kind(last):
        return f"calls in a row differ in {', '.join(_differ(first, last))}"
    for step in others:
        if step.id in last.after:
            return f"the call {last.id!r} needs what {step.id!r} gives, which lies between"
    ends = next(step.id for step in others if may_end(step))
    return f"the step {ends!r} between its calls may end the operation"


def _differ(first: Talk, last: Talk) -> Iterator[str]:
    if type(first) is not type(last):
        yield "whether they are published"
    if first.per_item != last.per_item:
        yield "per_item"
    one, other = (written_options(options(talk.edge)) for talk in (first, last))
    if any(isinstance(talk.edge.on_error, OnErrorFallback) for talk in (first, last)):
        one["on_error"], other["on_error"] = first.edge.on_error, last.edge.on_error
    one["bound"], other["bound"] = first.edge.limits, last.edge.limits
    yield from (name for name in {**one, **other} if one.get(name) != other.get(name))


def _kept(repeat: Repeat, is_edge: Callable[[Step], bool]) -> str:
    """Why a call of the edge is still in the repeat."""
    if may_end(repeat):
        return "a step of the repeat around it may end the operation"
    for step in repeat.steps:
        if is_edge(step):
            return f"in the repeat around it {step.id!r} needs what {step.after[0]!r} gives"
    return "it lies in a group or a choice of the repeat around it"


BATCH: Final = Operator(Batch, (EDGE, Key("size", integer(1), example="size: 20")), _apply)
