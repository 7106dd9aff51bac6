"""``work`` and ``sleep``: a distribution, or a mapping with the part for each item carried."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

from services.scenario.distributions import Constant, Distribution
from services.scenario.file.steps.kind import Common, Kind, Place, WritePlace
from services.scenario.model import Sleep, Work
from services.scenario.text.amounts import FAMILIES, TIME, is_distribution
from services.scenario.text.reader import Reader, mapping, optional, word
from services.scenario.text.source import Node

Where = Literal["loop", "thread", "process"]
WHERE: Final[Callable[[str | None, Node], Where]] = word(("loop", "thread", "process"))
_NOTHING: Final[Distribution] = Constant(0.0)
_per_item: Final = optional(TIME.read, "none")


def _read_work(node: Node, r: Reader, common: Common, place: Place) -> Work:
    where = place.where
    if is_distribution(node):
        return Work(**common, cpu=TIME.read(r.file, node), cpu_per_item=None, where=where)
    inner = mapping(r.file, node, "work")
    work = Work(
        **common,
        cpu=inner.get("cpu", TIME.read, _NOTHING),
        cpu_per_item=inner.get("per_item", _per_item, None),
        where=inner.get("where", WHERE, where),
    )
    inner.done(also=FAMILIES)
    return work


def _write_work(work: Work, place: WritePlace) -> dict[str, object]:
    inner = _written("cpu", work.cpu, work.cpu_per_item)
    if work.where != "loop":
        inner["where"] = work.where
    return {"work": inner if len(inner) > 1 else inner["cpu"]}


def _read_sleep(node: Node, r: Reader, common: Common, place: Place) -> Sleep:
    if is_distribution(node):
        return Sleep(**common, time=TIME.read(r.file, node), time_per_item=None)
    inner = mapping(r.file, node, "sleep")
    sleep = Sleep(
        **common,
        time=inner.get("time", TIME.read, _NOTHING),
        time_per_item=inner.get("per_item", _per_item, None),
    )
    inner.done(also=FAMILIES)
    return sleep


def _write_sleep(sleep: Sleep, place: WritePlace) -> dict[str, object]:
    inner = _written("time", sleep.time, sleep.time_per_item)
    return {"sleep": inner if len(inner) > 1 else inner["time"]}


def _written(key: str, fixed: Distribution, per_item: Distribution | None) -> dict[str, object]:
    written = {key: TIME.write(fixed)}
    if per_item is not None:
        written["per_item"] = TIME.write(per_item)
    return written


WORK: Final = Kind(Work, _read_work, _write_work)
SLEEP: Final = Kind(Sleep, _read_sleep, _write_sleep)
