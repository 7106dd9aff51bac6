"""``asyncify``: the call becomes a Kafka publish, and the caller continues at its ack.

Refused where a step is ``after`` the call: it needs an answer that would not come. A fallback goes
with the answer it replaces; failing and ignoring now concern the ack.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from services.errors import BadInput
from services.scenario.model import (
    EdgeRef,
    OnErrorFallback,
    OnErrorIgnore,
    Operation,
    Refactor,
    Scenario,
    Service,
    Step,
    Steps,
)
from services.scenario.refactors.operator import EDGE, Operator, calls_of, matches, rewritten
from services.scenario.steps.calls import Call, Publish
from services.scenario.tree import operations, walk, with_operations


@dataclass(frozen=True, slots=True)
class Asyncify(Refactor):
    edge: EdgeRef


def _apply(scenario: Scenario, refactor: Asyncify) -> Scenario:
    calls = [s for s in calls_of(scenario, "asyncify", refactor.edge) if isinstance(s, Call)]
    if not calls:
        raise BadInput(f"asyncify: {refactor.edge} is published already")
    ids = {call.id for call in calls}
    for service, operation in operations(scenario):
        if (waiting := _waiting(operation.steps, ids)) is not None:
            raise BadInput(
                f"asyncify: in {service.name}.{operation.name} the step {waiting[0]!r} is after "
                f"{waiting[1]!r}, and a publish brings no answer"
            )

    def rewrite(service: Service, operation: Operation) -> Operation:
        def published(step: Step) -> Step:
            if not isinstance(step, Call):
                return step
            if not matches(refactor.edge, service.name, operation.name, step):
                return step
            lenient = isinstance(step.edge.on_error, OnErrorFallback)
            edge = replace(
                step.edge,
                protocol="kafka",
                mode="publish",
                hedge=None,
                on_error=OnErrorIgnore() if lenient else step.edge.on_error,
            )
            return Publish(id=step.id, after=step.after, per_item=step.per_item, edge=edge)

        return replace(operation, steps=rewritten(operation.steps, published))

    return with_operations(scenario, rewrite)


def _waiting(steps: Steps, ids: set[str]) -> tuple[str, str] | None:
    """The first step that is after one of ``ids``, or after a group that holds it, and the id."""
    holds = {step.id: [s.id for s in walk((step,)) if s.id in ids] for step in steps}
    for step in steps:
        for earlier in step.after:
            if holds.get(earlier):
                return step.id, holds[earlier][0]
        for block in step.blocks:
            if (found := _waiting(block, ids)) is not None:
                return found
    return None


ASYNCIFY: Final = Operator(Asyncify, (EDGE,), _apply)
