"""``protocol``: calls change their transport (over Kafka they become request/reply).

Publishes stay as they are.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from services.errors import BadInput
from services.scenario.model import (
    PROTOCOLS,
    Call,
    ChangeProtocol,
    Operation,
    Scenario,
    Service,
    Step,
)
from services.scenario.refactors.operator import Operator, calls_of, edge_ref, matches, rewritten
from services.scenario.text.reader import Reader, bad, boolean, word
from services.scenario.tree import operations, walk, with_operations


def _read(r: Reader) -> ChangeProtocol:
    edge = r.get("edge", edge_ref, None)
    everywhere = r.get("all", boolean, False)
    if everywhere == (edge is not None):
        raise bad(r.file, r.node, "protocol takes an edge, or all: true")
    return ChangeProtocol(edge, word(PROTOCOLS)(r.file, r.need("to", "to: grpc")))


def _write(refactor: ChangeProtocol) -> dict[str, object]:
    where: dict[str, object] = {"edge": str(refactor.edge)} if refactor.edge else {"all": True}
    return {**where, "to": refactor.to}


def _apply(scenario: Scenario, refactor: ChangeProtocol) -> Scenario:
    where = "any edge" if refactor.edge is None else str(refactor.edge)
    found = (
        [step for _, o in operations(scenario) for step in walk(o.steps)]
        if refactor.edge is None
        else calls_of(scenario, "protocol", refactor.edge)
    )
    calls = [step for step in found if isinstance(step, Call)]
    if not calls:
        raise BadInput(f"protocol: {where} makes no calls, and publishes stay on Kafka")
    if all(call.edge.protocol == refactor.to for call in calls):
        raise BadInput(f"protocol: every call of {where} goes over {refactor.to} already")
    if refactor.to == "kafka" and (hedged := [c.id for c in calls if c.edge.hedge is not None]):
        raise BadInput(
            f"protocol: the call {hedged[0]!r} is hedged, and a topic has no other replica to ask"
        )

    def rewrite(service: Service, operation: Operation) -> Operation:
        def moved(step: Step) -> Step:
            if isinstance(step, Call) and (
                refactor.edge is None or matches(refactor.edge, service.name, operation.name, step)
            ):
                return replace(step, edge=replace(step.edge, protocol=refactor.to))
            return step

        return replace(operation, steps=rewritten(operation.steps, moved))

    return with_operations(scenario, rewrite)


PROTOCOL: Final = Operator(ChangeProtocol, _read, _write, _apply)
