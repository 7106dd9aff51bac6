"""``merge``: the callee's steps inlined at the call. Read and checked, not applied."""

from __future__ import annotations

from typing import Final

from services.errors import BadInput
from services.scenario.model import Merge, Scenario
from services.scenario.refactors.operator import Operator, calls_of, edge_ref
from services.scenario.text.reader import Reader


def _read(r: Reader) -> Merge:
    return Merge(edge_ref(r.file, r.need("edge", "edge: order->inventory.reserve")))


def _write(refactor: Merge) -> dict[str, object]:
    return {"edge": str(refactor.edge)}


def _apply(scenario: Scenario, refactor: Merge) -> Scenario:
    calls_of(scenario, "merge", refactor.edge)
    raise BadInput("merge: not yet", hint="this version reads the operator, but cannot run it")


MERGE: Final = Operator(Merge, _read, _write, _apply)
