"""What a kind of step is to the reader and the writer, and where they stand in the file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, TypedDict

from services.errors import BadInput
from services.scenario.model import Step
from services.scenario.text.edges import Values
from services.scenario.text.reader import Reader
from services.scenario.text.source import Node
from services.scenario.tree import Steps

MAX_NESTING: Final = 40


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
    file: str | None
    service: str
    operation: str
    position: str
    values: Values
    """Every edge option, as the defaults above leave it."""
    where: Literal["loop", "thread", "process"]
    """Where work runs, as the defaults above leave it."""
    lines: dict[tuple[str, ...], int]
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
class Kind:
    type: type[Step]
    read: Callable[[Node, Reader, Common, Place], Step]
    """From the value of the kind's key, and the whole mapping for its siblings."""
    write: Callable[[Any, WritePlace], Mapping[str, object]]
    """The kind's key with its value, and its siblings."""


def default_id(service: str, operation: str, position: str) -> str:
    return f"{service}.{operation}/{position}"


def child(position: str, number: int) -> str:
    return f"{position}.{number}" if position else str(number)
