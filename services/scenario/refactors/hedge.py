"""``hedge``: a second attempt at another replica, when the first is late. The first answer wins."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from services.errors import BadInput
from services.scenario.model import (
    EdgeRef,
    HedgePolicy,
    Operation,
    Refactor,
    Scenario,
    Service,
    Step,
)
from services.scenario.refactors.operator import EDGE, Operator, calls_of, matches, rewritten
from services.scenario.steps.calls import Call
from services.scenario.text.edges import HEDGE_DELAY
from services.scenario.text.forms import Key
from services.scenario.tree import with_operations


@dataclass(frozen=True, slots=True)
class Hedge(Refactor):
    """``after_ns`` None stands for ``p95``."""

    edge: EdgeRef
    after_ns: int | None


def _apply(scenario: Scenario, refactor: Hedge) -> Scenario:
    calls = [s for s in calls_of(scenario, "hedge", refactor.edge) if isinstance(s, Call)]
    if not calls:
        raise BadInput(
            f"hedge: {refactor.edge} is published, and a publish has no answer to wait for"
        )
    if any(call.edge.protocol == "kafka" for call in calls):
        raise BadInput(f"hedge: {refactor.edge} goes over Kafka, and a topic has no other replica")
    callee = scenario.services.get(refactor.edge.callee)
    if callee is None or callee.replicas < 2:
        raise BadInput(
            f"hedge: {refactor.edge.callee} has one replica, and the second attempt needs another",
            hint=f"give {refactor.edge.callee} replicas: 2 or more",
        )
    policy = HedgePolicy(refactor.after_ns)
    if all(call.edge.hedge == policy for call in calls):
        raise BadInput(f"hedge: {refactor.edge} is hedged so already")

    def rewrite(service: Service, operation: Operation) -> Operation:
        def hedged(step: Step) -> Step:
            if isinstance(step, Call) and matches(
                refactor.edge, service.name, operation.name, step
            ):
                return replace(step, edge=replace(step.edge, hedge=policy))
            return step

        return replace(operation, steps=rewritten(operation.steps, hedged))

    return with_operations(scenario, rewrite)


_AFTER: Final = Key("after", HEDGE_DELAY, field="after_ns", example="after: 20ms")
HEDGE: Final = Operator(Hedge, (EDGE, _AFTER), _apply)
