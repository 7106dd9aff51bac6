"""``sequence``, ``parallel`` and ``repeat``: steps inside a step."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Self

from services.scenario.limits import MAX_ITEMS
from services.scenario.model import Step, Steps
from services.scenario.steps.kind import STEPS, Common, Kind, Place, WritePlace
from services.scenario.text.forms import Key, integer, mapping_schema, optional, read
from services.scenario.text.reader import Reader, mapping
from services.scenario.text.source import List, Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Group(Step):
    """Steps inside a step; it needs no keys itself."""

    steps: Steps

    @property
    def blocks(self) -> tuple[Steps, ...]:
        return (self.steps,)

    def with_blocks(self, blocks: tuple[Steps, ...]) -> Self:
        return replace(self, steps=blocks[0])

    @property
    def draws(self) -> bool:
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequence(Group):
    """One after another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parallel(Group):
    """Steps that run at once, at most ``max_parallel`` (None: all). ``after`` inside it holds."""

    max_parallel: int | None

    @property
    def at_once(self) -> int | None:
        return self.max_parallel

    @property
    def wrong(self) -> str | None:
        bound = self.max_parallel
        return None if bound is None or bound > 0 else f"{self.id} runs {bound} at once"


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeat(Group):
    """The steps, ``times`` times over.

    A repeat adds no pair of its own to the call path: iteration r of R shifts the item numbers of
    the steps inside (number = r * count + item; nested repeats compose), so that a repeated call
    and one call with the same count make the same choices.
    """

    times: int

    @property
    def shares(self) -> tuple[float, ...]:
        return (self.times,)

    @property
    def wrong(self) -> str | None:
        return None if self.times > 0 else f"{self.id} repeats {self.times} times"


def _read_sequence(node: Node, r: Reader, common: Common, place: Place) -> Sequence:
    return Sequence(**common, steps=place.read(node))


def _write_sequence(sequence: Sequence, place: WritePlace) -> dict[str, object]:
    return {"sequence": place.write(sequence.steps)}


_PARALLEL: Final = (
    Key("max", optional(integer(1), "all"), None, "max_parallel"),
    Key("steps", STEPS, example="parallel: {max: 4, steps: […]}"),
)


def _read_parallel(node: Node, r: Reader, common: Common, place: Place) -> Parallel:
    if isinstance(node, List):
        return Parallel(**common, steps=place.read(node), max_parallel=None)
    inner = mapping(r.file, node, "parallel")
    given = read(_PARALLEL, inner)
    inner.done()
    return Parallel(**common, steps=place.read(given["steps"]), max_parallel=given["max_parallel"])


def _write_parallel(parallel: Parallel, place: WritePlace) -> dict[str, object]:
    steps = place.write(parallel.steps)
    if parallel.max_parallel is None:
        return {"parallel": steps}
    return {"parallel": {"max": parallel.max_parallel, "steps": steps}}


_REPEAT: Final = (
    Key("times", integer(1, MAX_ITEMS), example="repeat: {times: 5, steps: […]}"),
    Key("steps", STEPS, example="repeat: {times: 5, steps: […]}"),
)


def _read_repeat(node: Node, r: Reader, common: Common, place: Place) -> Repeat:
    inner = mapping(r.file, node, "repeat")
    given = read(_REPEAT, inner)
    inner.done()
    return Repeat(**common, times=given["times"], steps=place.read(given["steps"]))


def _write_repeat(repeat: Repeat, place: WritePlace) -> dict[str, object]:
    return {"repeat": {"times": repeat.times, "steps": place.write(repeat.steps)}}


SEQUENCE: Final = Kind(
    Sequence, _write_sequence, "services.behaviour.steps:in_order", _read_sequence, STEPS.schema
)
PARALLEL: Final = Kind(
    Parallel,
    _write_parallel,
    "services.behaviour.steps:at_once",
    _read_parallel,
    {"anyOf": [STEPS.schema, mapping_schema(_PARALLEL)]},
)
REPEAT: Final = Kind(
    Repeat,
    _write_repeat,
    "services.behaviour.steps:Repeating",
    _read_repeat,
    mapping_schema(_REPEAT),
)
