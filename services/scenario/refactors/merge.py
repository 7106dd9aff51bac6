"""``merge``: the callee's steps inlined at the call. Read and checked, not applied."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from services.errors import BadInput
from services.scenario.model import EdgeRef, Refactor, Scenario
from services.scenario.refactors.operator import EDGE, Operator, calls_of


@dataclass(frozen=True, slots=True)
class Merge(Refactor):
    edge: EdgeRef


def _apply(scenario: Scenario, refactor: Merge) -> Scenario:
    calls_of(scenario, "merge", refactor.edge)
    raise BadInput("merge: not yet", hint="this version reads the operator, but cannot run it")


MERGE: Final = Operator(Merge, (EDGE,), _apply)
