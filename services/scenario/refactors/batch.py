"""``batch``: the edge carries ``size`` items a call."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from services.errors import BadInput
from services.scenario.model import EdgeRef, Operation, Refactor, Scenario, Service, Step
from services.scenario.refactors.joining import joined
from services.scenario.refactors.operator import (
    EDGE,
    Operator,
    calls_of,
    matches,
    of_edge,
    with_edge,
)
from services.scenario.text.forms import Key, integer
from services.scenario.tree import with_operations


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
        raise BadInput(
            f"batch: {refactor.edge} has one item to send, and no repeats in a row",
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


BATCH: Final = Operator(Batch, (EDGE, Key("size", integer(1), example="size: 20")), _apply)
