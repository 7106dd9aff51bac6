"""``merge``: the callee's steps run at the caller, and no message goes between them.

Work, waiting, further calls and chance stay as they were; the hop and its payload go. With them go
the edge's timeout, retry and hedge, and what the callee does to calls alone: its faults, its limit
of requests at once, its replicas.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from services.errors import BadInput
from services.scenario.model import EdgeRef, Refactor, Scenario, Step
from services.scenario.refactors.operator import (
    EDGE,
    Operator,
    calls_of,
    with_edge,
)
from services.scenario.steps.calls import Call, Talk
from services.scenario.steps.merged import Merged


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

    def merged(talk: Talk) -> Step:
        if not isinstance(talk, Call):
            return talk
        return Merged(
            id=talk.id,
            after=talk.after,
            per_item=talk.per_item,
            edge=replace(talk.edge, timeout_ns=None, retry=None, hedge=None, limits=()),
            steps=steps,
        )

    return with_edge(scenario, edge, merged)


MERGE: Final = Operator(Merge, (EDGE,), _apply)
