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
    Refactor,
    Scenario,
    Step,
    Steps,
)
from services.scenario.refactors.operator import (
    EDGE,
    Operator,
    calls_of,
    with_edge,
)
from services.scenario.steps.calls import Call, Publish, Talk
from services.scenario.tree import operations, walk


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

    def published(talk: Talk) -> Step:
        if not isinstance(talk, Call):
            return talk
        lenient = isinstance(talk.edge.on_error, OnErrorFallback)
        edge = replace(
            talk.edge,
            protocol="kafka",
            mode="publish",
            hedge=None,
            on_error=OnErrorIgnore() if lenient else talk.edge.on_error,
        )
        return Publish(id=talk.id, after=talk.after, per_item=talk.per_item, edge=edge)

    return with_edge(scenario, refactor.edge, published)


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
