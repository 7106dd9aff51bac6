"""``batch``: the edge carries ``size`` items a call."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

from services.errors import BadInput
from services.scenario.model import EdgeRef, Operation, Refactor, Scenario, Service, Step, Steps
from services.scenario.refactors.joining import joined
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
from services.scenario.tree import operations, with_operations


@dataclass(frozen=True, slots=True)
class Batch(Refactor):
    edge: EdgeRef
    size: int


def _apply(scenario: Scenario, refactor: Batch) -> Scenario:
    calls_of(scenario, "batch", refactor.edge)

    def join(service: Service, operation: Operation) -> Operation:
        def is_edge(step: Step) -> bool:
            return matches(refactor.edge, service.name, operation.name, step)

        return replace(operation, steps=joined(operation.steps, is_edge, limit=1))

    together = with_operations(scenario, join)
    edges = [step.edge for step in of_edge(together, refactor.edge)]
    if all(edge.count == 1 for edge in edges):
        why = next(_apart(together, refactor.edge), "and no repeats in a row")
        raise BadInput(
            f"batch: {refactor.edge} has one item to send, {why}",
            hint="calls are joined where they follow each other and none is after another",
        )
    if all(min(edge.count, refactor.size) <= edge.batch for edge in edges):
        carried = max(edge.batch for edge in edges)
        raise BadInput(
            f"batch: a size of {refactor.size} makes no call of {refactor.edge} carry more",
            hint=f"it carries {carried} a call already; give a larger size",
        )
    return with_edge(
        together,
        refactor.edge,
        lambda talk: replace(talk, edge=replace(talk.edge, batch=refactor.size)),
    )


def _apart(scenario: Scenario, ref: EdgeRef) -> Iterator[str]:
    """What keeps calls of the edge that are near each other from being one."""
    for service, operation in operations(scenario):
        steps = [operation.steps]
        while steps:
            block = steps.pop()
            steps += [inner for step in block for inner in step.blocks]
            of = [i for i, s in enumerate(block) if matches(ref, service.name, operation.name, s)]
            for i, j in pairwise(of):
                yield _between(block[i : j + 1])
            repeats = (step for step in block if isinstance(step, Repeat) and len(step.steps) > 1)
            for repeat in repeats:
                if any(matches(ref, service.name, operation.name, s) for s in repeat.steps):
                    yield "and other steps in the repeat around it"


def _between(steps: Steps) -> str:
    first, *others, last = steps
    assert isinstance(first, Talk)
    assert isinstance(last, Talk)
    if first.id in last.after:
        return "and the call that follows needs what the one before gave"
    if others:
        return "and other steps between its calls"
    differ = [
        option
        for option in {**written_options(first.edge), **written_options(last.edge)}
        if written_options(first.edge).get(option) != written_options(last.edge).get(option)
    ]
    return f"and calls in a row that differ in {', '.join(differ) or 'what they do on errors'}"


BATCH: Final = Operator(Batch, (EDGE, Key("size", integer(1), example="size: 20")), _apply)
