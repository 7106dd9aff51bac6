"""``protocol``: calls change their transport (over Kafka they become request/reply).

Publishes stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from services.errors import BadInput
from services.scenario.model import (
    EdgeRef,
    Protocol,
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
from services.scenario.text.edges import PROTOCOL as NAME
from services.scenario.text.forms import BOOLEAN, Key
from services.scenario.tree import operations, walk


@dataclass(frozen=True, slots=True)
class ChangeProtocol(Refactor):
    """Of one edge, or of ``all``."""

    edge: EdgeRef | None
    to: Protocol
    all: bool = False


def _apply(scenario: Scenario, refactor: ChangeProtocol) -> Scenario:
    if refactor.all == (refactor.edge is not None):
        raise BadInput("protocol takes an edge, or all: true")
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

    def moved(talk: Talk) -> Step:
        if isinstance(talk, Call):
            return replace(talk, edge=replace(talk.edge, protocol=refactor.to))
        return talk

    return with_edge(scenario, refactor.edge, moved)


PROTOCOL: Final = Operator(
    ChangeProtocol,
    (
        replace(EDGE, default=None),
        Key("all", BOOLEAN, False),
        Key("to", NAME, example="to: grpc"),
    ),
    _apply,
)
