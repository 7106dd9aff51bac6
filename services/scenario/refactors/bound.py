"""``bound``: at most ``max`` calls of the edge in flight from one parent. Never drops items.

A parallel group that holds nothing but the edge is bounded as a whole.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from services.errors import BadInput
from services.scenario.model import (
    Bound,
    Call,
    Operation,
    Parallel,
    Publish,
    Scenario,
    Service,
    Step,
)
from services.scenario.refactors.operator import Operator, calls_of, edge_ref, matches, rewritten
from services.scenario.text.reader import Reader, integer
from services.scenario.tree import with_operations


def _read(r: Reader) -> Bound:
    return Bound(
        edge=edge_ref(r.file, r.need("edge", "edge: order->inventory.reserve")),
        max=integer(1)(r.file, r.need("max", "max: 10")),
    )


def _write(refactor: Bound) -> dict[str, object]:
    return {"edge": str(refactor.edge), "max": refactor.max}


def _apply(scenario: Scenario, refactor: Bound) -> Scenario:
    calls_of(scenario, "bound", refactor.edge)

    def rewrite(service: Service, operation: Operation) -> Operation:
        def is_edge(step: Step) -> bool:
            return matches(refactor.edge, service.name, operation.name, step)

        def bounded(step: Step) -> Step:
            if isinstance(step, Call | Publish) and is_edge(step):
                limit = step.edge.max_parallel
                calls = -(-step.edge.count // step.edge.batch)
                if calls > refactor.max and (limit is None or limit > refactor.max):
                    return replace(step, edge=replace(step.edge, max_parallel=refactor.max))
            if isinstance(step, Parallel) and step.steps and all(map(is_edge, step.steps)):
                limit = step.max_parallel
                if len(step.steps) > refactor.max and (limit is None or limit > refactor.max):
                    return replace(step, max_parallel=refactor.max)
            return step

        return replace(operation, steps=rewritten(operation.steps, bounded))

    after = with_operations(scenario, rewrite)
    if after == scenario:
        raise BadInput(f"bound: {refactor.edge} never has more than {refactor.max} calls in flight")
    return after


BOUND: Final = Operator(Bound, _read, _write, _apply)
