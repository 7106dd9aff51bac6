"""``merge``: the callee's steps run at the caller, and no message goes between them.

Work, waiting, further calls and chance stay as they were; the hop and its payload go. With them go
the edge's timeout, retry and hedge, and what the callee does to calls alone: its faults, its limit
of requests at once, its replicas.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from services.errors import BadInput
from services.scenario.model import EdgeRef, Operation, Refactor, Scenario, Service, Step
from services.scenario.refactors.operator import EDGE, Operator, calls_of, matches, rewritten
from services.scenario.steps.calls import Call
from services.scenario.steps.merged import Merged
from services.scenario.tree import with_operations


@dataclass(frozen=True, slots=True)
class Merge(Refactor):
    edge: EdgeRef


def _apply(scenario: Scenario, refactor: Merge) -> Scenario:
    edge = refactor.edge
    if not any(isinstance(step, Call) for step in calls_of(scenario, "merge", edge)):
        raise BadInput(
            f"merge: {edge} is published: what it starts runs when the caller has gone on",
            hint="only calls can be merged",
        )
    steps = scenario.services[edge.callee].operations[edge.operation].steps

    def rewrite(service: Service, operation: Operation) -> Operation:
        def merged(step: Step) -> Step:
            if not isinstance(step, Call) or not matches(edge, service.name, operation.name, step):
                return step
            return Merged(
                id=step.id,
                after=step.after,
                per_item=step.per_item,
                edge=replace(step.edge, timeout_ns=None, retry=None, hedge=None),
                steps=steps,
            )

        return replace(operation, steps=rewritten(operation.steps, merged))

    return with_operations(scenario, rewrite)


MERGE: Final = Operator(Merge, (EDGE,), _apply)
