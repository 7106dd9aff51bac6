"""A kind of step: its steps, and then the same again."""

from __future__ import annotations

from dataclasses import dataclass

from services.behaviour.replica import Frame, Replica
from services.behaviour.steps import prepare
from services.scenario.steps.groups import Group
from services.scenario.steps.kind import STEPS, Common, Kind, Place, WritePlace
from services.scenario.text.reader import Reader
from services.scenario.text.source import Node
from services.telemetry.port import Fanout


@dataclass(frozen=True, slots=True, kw_only=True)
class Twice(Group):
    @property
    def shares(self) -> tuple[float, ...]:
        return (2.0,)


class Again:
    def __init__(self, replica: Replica, step: Twice) -> None:
        self._steps = prepare(replica, step.steps)

    async def run(self, frame: Frame, keys: list[int], shift: int, fanout: Fanout | None) -> None:
        await self._steps.run(frame, keys, 2 * shift, fanout)
        await self._steps.run(frame, keys, 2 * shift + 1, fanout)


def _read(node: Node, r: Reader, common: Common, place: Place) -> Twice:
    return Twice(**common, steps=place.read(node))


def _write(twice: Twice, place: WritePlace) -> dict[str, object]:
    return {"twice": place.write(twice.steps)}


TWICE = Kind(Twice, _write, f"{__name__}:Again", _read, STEPS.schema)
