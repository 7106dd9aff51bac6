"""``cache``: the caller keeps answers by key; a hit makes no call. Read and checked only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from services.errors import BadInput
from services.scenario.model import EdgeRef, Refactor, Scenario
from services.scenario.refactors.operator import EDGE, Operator, calls_of
from services.scenario.text.amounts import DURATION
from services.scenario.text.forms import Key, optional, positive, word


@dataclass(frozen=True, slots=True)
class Cache(Refactor):
    edge: EdgeRef
    scope: Literal["request", "process"]
    ttl_ns: int | None


def _apply(scenario: Scenario, refactor: Cache) -> Scenario:
    if all(s.edge.key_distinct is None for s in calls_of(scenario, "cache", refactor.edge)):
        raise BadInput(
            f"cache: {refactor.edge} has no key", hint="give the call key: {distinct: N}"
        )
    raise BadInput("cache: not yet", hint="this version reads the operator, but cannot run it")


CACHE: Final = Operator(
    Cache,
    (
        EDGE,
        Key("scope", word(("request", "process")), example="scope: request"),
        Key("ttl", optional(positive(DURATION), "none"), None, "ttl_ns"),
    ),
    _apply,
)
