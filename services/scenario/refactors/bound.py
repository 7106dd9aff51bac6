"""``bound``: at most ``max`` attempts over the edge in flight from one replica of the caller, over
all steps that use it and all requests that it handles. Further ones wait their turn; none is
dropped."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from services.errors import BadInput
from services.scenario.model import EdgeRef, Limit, Refactor, Scenario, Step
from services.scenario.refactors.operator import EDGE, Operator, calls_of, with_edge
from services.scenario.steps.calls import Talk
from services.scenario.text.forms import Key, integer


@dataclass(frozen=True, slots=True)
class Bound(Refactor):
    edge: EdgeRef
    max: int


def _apply(scenario: Scenario, refactor: Bound) -> Scenario:
    limit = Limit(refactor.edge, refactor.max)
    if all(limit in talk.edge.limits for talk in calls_of(scenario, "bound", refactor.edge)):
        raise BadInput(f"bound: {refactor.edge} is bounded so already")

    def bounded(talk: Talk) -> Step:
        others = (each for each in talk.edge.limits if each.edge != limit.edge)
        return replace(talk, edge=replace(talk.edge, limits=(*others, limit)))

    return with_edge(scenario, refactor.edge, bounded)


BOUND: Final = Operator(Bound, (EDGE, Key("max", integer(1), example="max: 10")), _apply)
