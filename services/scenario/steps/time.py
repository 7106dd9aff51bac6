"""``work`` and ``sleep``: a distribution, or a mapping with the part for each item carried."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from services.scenario.distributions import Constant, Distribution
from services.scenario.model import Step, Where
from services.scenario.steps.kind import Common, Kind, Place, WritePlace
from services.scenario.text.amounts import FAMILIES, TIME, is_distribution
from services.scenario.text.forms import (
    Key,
    Schema,
    defaults,
    given,
    mapping_schema,
    optional,
    word,
    written,
)
from services.scenario.text.reader import Reader, mapping
from services.scenario.text.source import Node


def _means(fixed: Distribution, per_item: Distribution | None) -> tuple[float, float]:
    return fixed.mean(), 0.0 if per_item is None else per_item.mean()


@dataclass(frozen=True, slots=True, kw_only=True)
class Work(Step):
    """CPU time, ns of thread CPU: ``cpu`` once, and ``cpu_per_item`` for each item carried."""

    cpu: Distribution
    cpu_per_item: Distribution | None
    where: Where

    @property
    def cpu_ns(self) -> tuple[float, float]:
        return _means(self.cpu, self.cpu_per_item)

    @property
    def draws(self) -> bool:
        return not isinstance(self.cpu, Constant) or self.cpu_per_item is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sleep(Step):
    """Waiting, ns: ``time`` once, and ``time_per_item`` for each item carried."""

    time: Distribution
    time_per_item: Distribution | None

    @property
    def time_ns(self) -> tuple[float, float]:
        return _means(self.time, self.time_per_item)

    @property
    def draws(self) -> bool:
        return not isinstance(self.time, Constant) or self.time_per_item is not None


_PER_ITEM: Final = optional(TIME, "none")
_WHERE: Final[tuple[Where, ...]] = ("loop", "thread", "process")
WHERE: Final = Key("where", word(_WHERE), "loop")
_WORK: Final = (
    Key("cpu", TIME, Constant(0.0), always=True),
    Key("per_item", _PER_ITEM, None, "cpu_per_item"),
    WHERE,
)
_SLEEP: Final = (
    Key("time", TIME, Constant(0.0), always=True),
    Key("per_item", _PER_ITEM, None, "time_per_item"),
)


def _read(what: str, keys: tuple[Key, ...], file: str, node: Node) -> dict[str, Any]:
    """What the node says of the keys; the first is what a distribution alone is."""
    if is_distribution(node):
        return {keys[0].field: TIME.read(file, node)}
    inner = mapping(file, node, what)
    found = given(keys, inner)
    inner.done(also=FAMILIES)
    return found


def _write(what: str, keys: tuple[Key, ...], step: Step, place: WritePlace) -> dict[str, object]:
    inner = written(keys, step)
    return {what: inner if len(inner) > 1 else inner[keys[0].name]}


def _schema(keys: tuple[Key, ...]) -> Schema:
    return {"anyOf": [TIME.schema, mapping_schema(keys)]}


def _read_work(node: Node, r: Reader, common: Common, place: Place) -> Work:
    unsaid = {**defaults(_WORK), "where": place.where}
    return Work(**common, **unsaid | _read("work", _WORK, r.file, node))


def _read_sleep(node: Node, r: Reader, common: Common, place: Place) -> Sleep:
    return Sleep(**common, **defaults(_SLEEP) | _read("sleep", _SLEEP, r.file, node))


WORK: Final = Kind(
    Work,
    partial(_write, "work", _WORK),
    "services.behaviour.steps:Working",
    _read_work,
    _schema(_WORK),
)
SLEEP: Final = Kind(
    Sleep,
    partial(_write, "sleep", _SLEEP),
    "services.behaviour.steps:Sleeping",
    _read_sleep,
    _schema(_SLEEP),
)
