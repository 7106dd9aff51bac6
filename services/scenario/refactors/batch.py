"""``batch``: the edge carries ``size`` items a call."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from services.errors import BadInput
from services.scenario.model import Batch, Call, Operation, Publish, Scenario, Service, Step
from services.scenario.refactors.joining import joined
from services.scenario.refactors.operator import (
    Operator,
    calls_of,
    edge_ref,
    matches,
    of_edge,
    rewritten,
)
from services.scenario.text.reader import Reader, integer
from services.scenario.tree import with_operations


def _read(r: Reader) -> Batch:
    return Batch(
        edge=edge_ref(r.file, r.need("edge", "edge: order->inventory.reserve")),
        size=integer(1)(r.file, r.need("size", "size: 20")),
    )


def _write(refactor: Batch) -> dict[str, object]:
    return {"edge": str(refactor.edge), "size": refactor.size}


def _apply(scenario: Scenario, refactor: Batch) -> Scenario:
    calls_of(scenario, "batch", refactor.edge)

    def join(service: Service, operation: Operation) -> Operation:
        def is_edge(step: Step) -> bool:
            return matches(refactor.edge, service.name, operation.name, step)

        return replace(operation, steps=joined(operation.steps, is_edge, limit=1))

    def resize(service: Service, operation: Operation) -> Operation:
        def sized(step: Step) -> Step:
            if matches(refactor.edge, service.name, operation.name, step):
                assert isinstance(step, Call | Publish)
                return replace(step, edge=replace(step.edge, batch=refactor.size))
            return step

        return replace(operation, steps=rewritten(operation.steps, sized))

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
    return with_operations(together, resize)


BATCH: Final = Operator(Batch, _read, _write, _apply)
