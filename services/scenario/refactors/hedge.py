"""``hedge``: a second attempt at another replica, when the first is late. The first answer wins."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from services.errors import BadInput
from services.scenario.model import Call, Hedge, HedgePolicy, Operation, Scenario, Service, Step
from services.scenario.refactors.operator import Operator, calls_of, edge_ref, matches, rewritten
from services.scenario.text.edges import delay_text, hedge_delay
from services.scenario.text.reader import Reader
from services.scenario.tree import with_operations


def _read(r: Reader) -> Hedge:
    return Hedge(
        edge=edge_ref(r.file, r.need("edge", "edge: order->inventory.reserve")),
        after_ns=hedge_delay(r.file, r.need("after", "after: 20ms")),
    )


def _write(refactor: Hedge) -> dict[str, object]:
    return {"edge": str(refactor.edge), "after": delay_text(refactor.after_ns)}


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


HEDGE: Final = Operator(Hedge, _read, _write, _apply)
