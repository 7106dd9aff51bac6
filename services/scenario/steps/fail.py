"""``fail``: the operation ends with an error, with this probability."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from services.scenario.model import Step
from services.scenario.steps.kind import Common, Kind, Place, WritePlace
from services.scenario.text.amounts import PROBABILITY
from services.scenario.text.reader import Reader
from services.scenario.text.source import Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Fail(Step):
    """Ends the operation with an error, with this probability."""

    probability: float

    @property
    def draws(self) -> bool:
        return self.probability < 1.0

    @property
    def fails(self) -> bool:
        return True

    @property
    def wrong(self) -> str | None:
        if 0 <= self.probability <= 1:
            return None
        return f"{self.id} fails with a probability of {self.probability}"


def _read(node: Node, r: Reader, common: Common, place: Place) -> Fail:
    return Fail(**common, probability=PROBABILITY.read(r.file, node))


def _write(fail: Fail, place: WritePlace) -> dict[str, object]:
    return {"fail": PROBABILITY.write(fail.probability)}


FAIL: Final = Kind(Fail, _write, "services.behaviour.steps:Failing", _read, PROBABILITY.schema)
