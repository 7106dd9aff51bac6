"""Published JSON Schemas of every document, self-contained."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from importlib import resources
from typing import Any, Final

from services.errors import BadInput
from services.scenario.file.schema import scenario_schema

SCENARIO: Final = "scenario"
"""The scenario file's schema is made from the tables that its parser uses."""
SHARED: Final = "common"
_DEFS: Final = "#/$defs/"


def names() -> tuple[str, ...]:
    """Everything that has a schema."""
    files = resources.files("hopbench.front").joinpath("schemas").iterdir()
    stems = (file.name.removesuffix(".json") for file in files if file.name.endswith(".json"))
    return tuple(sorted((SCENARIO, *(stem for stem in stems if stem != SHARED))))


def schema(name: str) -> dict[str, Any]:
    """The JSON Schema of document ``name``, with those shared definitions that it needs.

    Raises BadInput with the names that exist.
    """
    known = names()
    if name not in known:
        close = get_close_matches(name, known, n=1)
        meant = f"did you mean {close[0]!r}? " if close else ""
        raise BadInput(f"no schema {name!r}", hint=f"{meant}there are: {', '.join(known)}")
    if name == SCENARIO:
        return scenario_schema()
    document = _read(name)
    shared = _read(SHARED)["$defs"]
    needed = _closure(document, shared)
    if needed:
        document["$defs"] = {key: shared[key] for key in shared if key in needed}
    return document


def _read(name: str) -> dict[str, Any]:
    text = resources.files("hopbench.front").joinpath("schemas", f"{name}.json").read_text("utf-8")
    document: dict[str, Any] = json.loads(text)
    return document


def _closure(document: Any, shared: Mapping[str, Any]) -> set[str]:
    needed: set[str] = set()
    todo = list(_references(document))
    while todo:
        name = todo.pop()
        if name not in needed:
            needed.add(name)
            todo.extend(_references(shared[name]))
    return needed


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref":
                yield value.removeprefix(_DEFS)
            else:
                yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)
