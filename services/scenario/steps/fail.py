"""``fail``: the operation ends with an error, with this probability."""

from __future__ import annotations

from typing import Final

from services.scenario import units
from services.scenario.model import Fail
from services.scenario.reader import Reader, quantity
from services.scenario.source import Node
from services.scenario.steps.kind import Common, Kind, Place, WritePlace


def _read(node: Node, r: Reader, common: Common, place: Place) -> Fail:
    return Fail(**common, probability=quantity(units.probability)(r.file, node))


def _write(fail: Fail, place: WritePlace) -> dict[str, object]:
    return {"fail": units.probability_text(fail.probability)}


FAIL: Final = Kind(Fail, _read, _write)
