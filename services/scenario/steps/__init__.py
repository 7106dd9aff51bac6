"""The kinds of steps: a literal table.

A kind is read from and written to a mapping that has exactly one key of the table. To add one: a
file with a class derived from Step and a Kind, and a line in :data:`KINDS`. The file lies here, or
in services/behaviour where it holds the kind's runner as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pkgutil import resolve_name
from typing import Final

from services.scenario.model import Step, Steps
from services.scenario.steps.kind import Common, Kind, Made, Place, WritePlace, child
from services.scenario.text.forms import (
    BOOLEAN,
    NAME,
    Form,
    Key,
    Schema,
    list_schema,
    mapping_schema,
    raw,
    read,
    written,
)
from services.scenario.text.reader import bad, did_you_mean, items, mapping, shown
from services.scenario.text.source import Leaf, List, Node

KINDS: Final[Mapping[str, str]] = {
    "work": "services.scenario.steps.time:WORK",
    "sleep": "services.scenario.steps.time:SLEEP",
    "call": "services.scenario.steps.calls:CALL",
    "publish": "services.scenario.steps.calls:PUBLISH",
    "sequence": "services.scenario.steps.groups:SEQUENCE",
    "parallel": "services.scenario.steps.groups:PARALLEL",
    "choice": "services.scenario.steps.choice:CHOICE",
    "repeat": "services.scenario.steps.groups:REPEAT",
    "fail": "services.scenario.steps.fail:FAIL",
}
"""Key in a file → ``module:name`` of its Kind, imported when first used."""
MADE: Final[Mapping[str, str]] = {"merged": "services.scenario.steps.merged:MERGED"}
"""The same of what operators make: written for people to see, and never read."""


@cache
def _kind(path: str) -> Kind:
    kind: Kind = resolve_name(path)
    return kind


@cache
def _made(path: str) -> Made:
    made: Made = resolve_name(path)
    return made


def kind_of(step: Step) -> tuple[str, Made]:
    for name, path in (*KINDS.items(), *MADE.items()):
        kind = _made(path)
        if kind.type is type(step):
            return name, kind
    raise AssertionError(f"{type(step).__name__} is missing in the table of kinds")


def read_steps(place: Place, node: Node) -> Steps:
    return tuple(
        _read_step(place.at(child(place.position, number)), item)
        for number, item in enumerate(items(place.file, node, "steps"), 1)
    )


def write_steps(place: WritePlace, steps: Steps) -> list[object]:
    return [
        _write_step(place.at(child(place.position, number)), step)
        for number, step in enumerate(steps, 1)
    ]


def definitions() -> dict[str, Schema]:
    """Of steps, which hold each other, for the published schema."""
    return {
        "steps": list_schema({"$ref": "#/$defs/step"}),
        "step": {
            "oneOf": [
                mapping_schema((Key(name, raw(kind.schema)), *kind.siblings, *_COMMON))
                for name, kind in zip(KINDS, map(_kind, KINDS.values()), strict=True)
            ]
        },
    }


def _after(file: str, node: Node) -> tuple[str, ...]:
    found = node.items if isinstance(node, List) else [node]
    for item in found:
        if not isinstance(item, Leaf) or item.value is None:
            raise bad(file, item, f"after names steps by their id, not {shown(item)}")
    return tuple(item.text for item in found if isinstance(item, Leaf))


_IDS: Final[Schema] = {"anyOf": [{"type": "string"}, list_schema({"type": "string"})]}
_COMMON: Final = (
    Key("id", NAME, None),
    Key("after", Form(_after, _IDS, list), ()),
    Key("per_item", BOOLEAN, False, about="Run for every item, not once a call."),
)


def _read_step(place: Place, node: Node) -> Step:
    r = mapping(place.file, node, "a step")
    kinds = [key for key in r.node.items if key in KINDS]
    if len(kinds) != 1:
        keys = ", ".join(key[:60] for key in r.node.items) or "an empty mapping"
        hint = next((h for key in r.node.items if (h := did_you_mean(key, KINDS))), None)
        raise bad(
            place.file,
            node,
            f"a step is one of {', '.join(KINDS)}; this has {keys}"
            if not kinds
            else f"a step is one thing; this is {' and '.join(kinds)}",
            None if kinds else hint,
        )
    r.what = f"a {kinds[0]} step"
    value = r.need(kinds[0], "")
    said = read(_COMMON, r)
    common = Common(
        id=said["id"] or place.default_id, after=said["after"], per_item=said["per_item"]
    )
    place.mark(common["id"], r.node.line)
    step = _kind(KINDS[kinds[0]]).read(value, r, common, place)
    r.done()
    return step


def _write_step(place: WritePlace, step: Step) -> object:
    name, kind = kind_of(step)
    said: dict[str, object] = {name: None, **kind.write(step, place), **written(_COMMON, step)}
    if step.id == place.default_id:
        del said["id"]
    return said
