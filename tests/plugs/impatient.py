"""A refactor operator: calls of the edge wait no longer than ``timeout``."""

from __future__ import annotations

from dataclasses import dataclass, replace

from services.scenario.model import EdgeRef, Operation, Refactor, Scenario, Service, Step
from services.scenario.refactors.operator import EDGE, Operator, calls_of, matches, rewritten
from services.scenario.steps.calls import Call
from services.scenario.text.amounts import DURATION
from services.scenario.text.forms import Key, positive
from services.scenario.tree import with_operations


@dataclass(frozen=True, slots=True)
class Impatient(Refactor):
    edge: EdgeRef
    timeout_ns: int


def _apply(scenario: Scenario, refactor: Impatient) -> Scenario:
    calls_of(scenario, "impatient", refactor.edge)

    def rewrite(service: Service, operation: Operation) -> Operation:
        def hurried(step: Step) -> Step:
            if isinstance(step, Call) and matches(
                refactor.edge, service.name, operation.name, step
            ):
                return replace(step, edge=replace(step.edge, timeout_ns=refactor.timeout_ns))
            return step

        return replace(operation, steps=rewritten(operation.steps, hurried))

    return with_operations(scenario, rewrite)


_TIMEOUT = Key("timeout", positive(DURATION), field="timeout_ns", example="timeout: 50ms")
IMPATIENT = Operator(Impatient, (EDGE, _TIMEOUT), _apply)
