"""``cache``: the caller keeps answers by key; a hit makes no call and no span."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

from services.errors import BadInput
from services.scenario.model import (
    CachePolicy,
    EdgeRef,
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
from services.scenario.text.edges import CACHE as POLICY


@dataclass(frozen=True, slots=True)
class Cache(Refactor):
    edge: EdgeRef
    scope: Literal["request", "process"]
    ttl_ns: int | None


def _apply(scenario: Scenario, refactor: Cache) -> Scenario:
    ref = refactor.edge
    calls = [step for step in calls_of(scenario, "cache", ref) if isinstance(step, Call)]
    if not calls:
        raise BadInput(f"cache: {ref} is published: there is no answer to keep")
    if all(call.edge.key_distinct is None for call in calls):
        raise BadInput(f"cache: {ref} has no key", hint="give the call key: {distinct: N}")
    policy = CachePolicy(refactor.scope, refactor.ttl_ns)

    def cached(talk: Talk) -> Step:
        if isinstance(talk, Call) and talk.edge.key_distinct is not None:
            return replace(talk, edge=replace(talk.edge, cache=policy))
        return talk

    return with_edge(scenario, ref, cached)


CACHE: Final = Operator(Cache, (EDGE, *POLICY), _apply)
