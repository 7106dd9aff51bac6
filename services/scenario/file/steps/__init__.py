"""The kinds of steps: a literal table, one file for each group of kinds.

A kind is read from and written to a mapping that has exactly one key of the table. To add one:
a dataclass in model.py, a file here, and a line in :data:`KINDS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from services.scenario.file.steps import calls, choice, fail, groups, time
from services.scenario.file.steps.kind import Common, Kind, Place, WritePlace, child
from services.scenario.model import Step
from services.scenario.text.reader import bad, boolean, did_you_mean, items, mapping, name, shown
from services.scenario.text.source import Leaf, List, Node
from services.scenario.tree import Steps

KINDS: Final[Mapping[str, Kind]] = {
    "work": time.WORK,
    "sleep": time.SLEEP,
    "call": calls.CALL,
    "publish": calls.PUBLISH,
    "sequence": groups.SEQUENCE,
    "parallel": groups.PARALLEL,
    "choice": choice.CHOICE,
    "repeat": groups.REPEAT,
    "fail": fail.FAIL,
}


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


def _read_step(place: Place, node: Node) -> Step:
    r = mapping(place.file, node, "a step")
    kinds = [key for key in r.node.items if key in KINDS]
    if len(kinds) != 1:
        said = ", ".join(key[:60] for key in r.node.items) or "an empty mapping"
        hint = next((h for key in r.node.items if (h := did_you_mean(key, KINDS))), None)
        raise bad(
            place.file,
            node,
            f"a step is one of {', '.join(KINDS)}; this has {said}"
            if not kinds
            else f"a step is one thing; this is {' and '.join(kinds)}",
            None if kinds else hint,
        )
    r.what = f"a {kinds[0]} step"
    value = r.need(kinds[0], "")
    given_id = r.get("id", name, None)
    common = Common(
        id=given_id or place.default_id,
        after=r.get("after", _after, ()),
        per_item=r.get("per_item", boolean, False),
    )
    place.mark(common["id"], r.node.line)
    step = KINDS[kinds[0]].read(value, r, common, place)
    r.done()
    return step


def _write_step(place: WritePlace, step: Step) -> object:
    for key, kind in KINDS.items():
        if kind.type is type(step):
            written = {key: None, **kind.write(step, place)}
            if step.id != place.default_id:
                written["id"] = step.id
            if step.after:
                written["after"] = list(step.after)
            if step.per_item:
                written["per_item"] = True
            return written
    raise AssertionError(f"{type(step).__name__} is missing in the table of kinds")


def _after(file: str | None, node: Node) -> tuple[str, ...]:
    found = node.items if isinstance(node, List) else [node]
    for item in found:
        if not isinstance(item, Leaf) or item.value is None:
            raise bad(file, item, f"after names steps by their id, not {shown(item)}")
    return tuple(item.text for item in found if isinstance(item, Leaf))
