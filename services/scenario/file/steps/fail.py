"""``fail``: the operation ends with an error, with this probability."""

from __future__ import annotations

from typing import Final

from services.scenario.file.steps.kind import Common, Kind, Place, WritePlace
from services.scenario.model import Fail
from services.scenario.text import units
from services.scenario.text.reader import Reader, quantity
from services.scenario.text.source import Node


def _read(node: Node, r: Reader, common: Common, place: Place) -> Fail:
    return Fail(**common, probability=quantity(units.probability)(r.file, node))


def _write(fail: Fail, place: WritePlace) -> dict[str, object]:
    return {"fail": units.probability_text(fail.probability)}


FAIL: Final = Kind(Fail, _read, _write)
