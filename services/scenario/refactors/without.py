"""``without``: a fault does not happen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from services.errors import BadInput
from services.scenario.model import Refactor, Scenario
from services.scenario.refactors.operator import Operator
from services.scenario.text.forms import TEXT, Key
from services.scenario.text.reader import did_you_mean


@dataclass(frozen=True, slots=True)
class Without(Refactor):
    fault: str


def _apply(scenario: Scenario, refactor: Without) -> Scenario:
    known = [fault.id for fault in scenario.faults]
    if refactor.fault not in known:
        raise BadInput(
            f"without: there is no fault {refactor.fault!r}",
            hint=did_you_mean(refactor.fault, known) or f"faults: {', '.join(known) or 'none'}",
        )
    kept = tuple(fault for fault in scenario.faults if fault.id != refactor.fault)
    return replace(scenario, faults=kept)


WITHOUT: Final = Operator(Without, (Key("fault", TEXT, example="fault: slow-disk"),), _apply)
