"""What a kind of step is, and where steps stand in the file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, TypedDict

from services.errors import BadInput
from services.scenario.model import Step, Steps, Where
from services.scenario.text.forms import Key, Schema, raw
from services.scenario.text.reader import Lines, Reader
from services.scenario.text.source import Node

MAX_NESTING: Final = 40
STEPS: Final = raw({"$ref": "#/$defs/steps"})
"""For a place to read."""


class Common(TypedDict):
    """What every step can say."""

    id: str
    after: tuple[str, ...]
    per_item: bool


@dataclass(frozen=True, slots=True)
class WritePlace:
    """A position in an operation: ``2.1`` is the first step inside the second."""

    service: str
    operation: str
    position: str
    write_steps: Callable[[WritePlace, Steps], list[object]]

    def at(self, position: str) -> WritePlace:
        return replace(self, position=position)

    @property
    def default_id(self) -> str:
        return default_id(self.service, self.operation, self.position)

    def write(self, steps: Steps) -> list[object]:
        return self.write_steps(self, steps)


@dataclass(frozen=True, slots=True)
class Place:
    file: str
    service: str
    operation: str
    position: str
    options: Mapping[str, Any]
    """Every option of an edge, by field, as the defaults above leave it."""
    where: Where
    """Where work runs, as the defaults above leave it."""
    lines: Lines
    read_steps: Callable[[Place, Node], Steps]

    def at(self, position: str) -> Place:
        return replace(self, position=position)

    @property
    def default_id(self) -> str:
        return default_id(self.service, self.operation, self.position)

    def read(self, node: Node) -> Steps:
        if self.position.count(".") >= MAX_NESTING:
            raise BadInput(f"steps nested more than {MAX_NESTING} deep", self.file, node.line)
        return self.read_steps(self, node)

    def mark(self, step: str, line: int) -> None:
        first = self.lines.get(("step", step))
        if first is not None:
            raise BadInput(
                f"the id {step!r} is given twice, first on line {first}",
                self.file,
                line,
                "ids are unique in a scenario: random choices are keyed by them",
            )
        self.lines["step", step] = line


@dataclass(frozen=True, slots=True)
class Made:
    """A kind of step that operators make and no file says, as the table holds it."""

    type: type[Step]
    write: Callable[[Any, WritePlace], Mapping[str, object]]
    """The kind's key with its value, and its siblings."""
    runner: str
    """``module:name`` of what makes a :class:`services.behaviour.replica.Runner` of a replica and
    a step; imported when first used."""


@dataclass(frozen=True, slots=True)
class Kind(Made):
    """A kind of step that files say."""

    read: Callable[[Node, Reader, Common, Place], Step]
    """From the value of the kind's key, and the whole mapping for its siblings."""
    schema: Schema
    """Of that value."""
    siblings: tuple[Key, ...] = ()


def default_id(service: str, operation: str, position: str) -> str:
    return f"{service}.{operation}/{position}"


def child(position: str, number: int) -> str:
    return f"{position}.{number}" if position else str(number)
