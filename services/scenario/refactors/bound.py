"""``bound``: at most ``max`` calls of the edge in flight from one parent. Never drops items.

A parallel group that holds nothing but the edge is bounded as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from services.errors import BadInput
from services.scenario.model import EdgeRef, Operation, Refactor, Scenario, Service, Step
from services.scenario.refactors.operator import EDGE, Operator, calls_of, matches, rewritten
from services.scenario.steps.calls import Talk
from services.scenario.steps.groups import Parallel
from services.scenario.text.forms import Key, integer
from services.scenario.tree import with_operations


@dataclass(frozen=True, slots=True)
class Bound(Refactor):
    edge: EdgeRef
    max: int


def _apply(scenario: Scenario, refactor: Bound) -> Scenario:
    calls_of(scenario, "bound", refactor.edge)

    def rewrite(service: Service, operation: Operation) -> Operation:
        def is_edge(step: Step) -> bool:
            return matches(refactor.edge, service.name, operation.name, step)

        def bounded(step: Step) -> Step:
            if isinstance(step, Talk) and is_edge(step):
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


BOUND: Final = Operator(Bound, (EDGE, Key("max", integer(1), example="max: 10")), _apply)
