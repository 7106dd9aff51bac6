"""``hedge``: a second attempt at another replica, when the first is late. The first answer wins."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from services.errors import BadInput
from services.scenario.model import (
    EdgeRef,
    HedgePolicy,
    Refactor,
    Scenario,
    Step,
)
from services.scenario.refactors.operator import (
    EDGE,
    Operator,
    calls_of,
    with_edge,
)
from services.scenario.steps.calls import Call, Talk
from services.scenario.text.edges import HEDGE_DELAY
from services.scenario.text.forms import Key


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

    def hedged(talk: Talk) -> Step:
        if isinstance(talk, Call):
            return replace(talk, edge=replace(talk.edge, hedge=policy))
        return talk

    return with_edge(scenario, refactor.edge, hedged)


_AFTER: Final = Key("after", HEDGE_DELAY, field="after_ns", example="after: 20ms")
HEDGE: Final = Operator(Hedge, (EDGE, _AFTER), _apply)
