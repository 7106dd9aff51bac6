"""``choice``: one of several lists of steps, by weight."""

from __future__ import annotations

from typing import Final

from services.scenario.file.steps.kind import Common, Kind, Place, WritePlace, child
from services.scenario.model import Choice, Option
from services.scenario.text.reader import Reader, bad, items, mapping, shown
from services.scenario.text.source import Leaf, Node


def weight(file: str | None, node: Node) -> float:
    value = node.value if isinstance(node, Leaf) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e12:
        raise bad(file, node, f"a weight is a number above zero, not {shown(node)}")
    return float(value)


def _read(node: Node, r: Reader, common: Common, place: Place) -> Choice:
    options = []
    for number, item in enumerate(items(r.file, node, "choice"), 1):
        inner = mapping(r.file, item, "an option of a choice")
        within = place.at(child(place.position, number))
        options.append(
            Option(
                weight=weight(r.file, inner.need("weight", "weight: 3")),
                steps=within.read(inner.need("steps", "steps: []")),
            )
        )
        inner.done()
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


CHOICE: Final = Kind(Choice, _read, _write)
