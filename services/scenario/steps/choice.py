"""``choice``: one of several lists of steps, by weight."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from services.scenario.model import Step, Steps
from services.scenario.steps.kind import STEPS, Common, Kind, Place, WritePlace, child
from services.scenario.text.amounts import WEIGHT
from services.scenario.text.forms import Key, list_schema, mapping_schema, read
from services.scenario.text.reader import Reader, bad, items, mapping
from services.scenario.text.source import Node


@dataclass(frozen=True, slots=True)
class Option:
    weight: float
    steps: Steps


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice(Step):
    options: tuple[Option, ...]

    @property
    def blocks(self) -> tuple[Steps, ...]:
        return tuple(option.steps for option in self.options)

    def with_blocks(self, blocks: tuple[Steps, ...]) -> Choice:
        options = zip(self.options, blocks, strict=True)
        return replace(self, options=tuple(replace(o, steps=steps) for o, steps in options))

    @property
    def shares(self) -> tuple[float, ...]:
        total = sum(option.weight for option in self.options)
        return tuple(option.weight / total for option in self.options)

    @property
    def one_of(self) -> bool:
        return True

    @property
    def wrong(self) -> str | None:
        if self.options and min(option.weight for option in self.options) > 0:
            return None
        return f"{self.id} needs options, with weights above zero"


_OPTION: Final = (
    Key("weight", WEIGHT, example="weight: 3"),
    Key("steps", STEPS, example="steps: []"),
)


def _read(node: Node, r: Reader, common: Common, place: Place) -> Choice:
    options = []
    for number, item in enumerate(items(r.file, node, "choice"), 1):
        inner = mapping(r.file, item, "an option of a choice")
        option = read(_OPTION, inner)
        inner.done()
        steps = place.at(child(place.position, number)).read(option["steps"])
        options.append(Option(option["weight"], steps))
    if not options:
        raise bad(r.file, node, "a choice without options")
    return Choice(**common, options=tuple(options))


def _write(choice: Choice, place: WritePlace) -> dict[str, object]:
    return {
        "choice": [
            {
                "weight": option.weight,
                "steps": place.at(child(place.position, number)).write(option.steps),
            }
            for number, option in enumerate(choice.options, 1)
        ]
    }


CHOICE: Final = Kind(
    Choice,
    _write,
    "services.behaviour.steps:Choosing",
    _read,
    list_schema(mapping_schema(_OPTION), minItems=1),
)
