"""``sequence``, ``parallel`` and ``repeat``: steps inside a step."""

from __future__ import annotations

from typing import Final

from services.scenario.file.steps.kind import Common, Kind, Place, WritePlace
from services.scenario.limits import MAX_ITEMS
from services.scenario.model import Parallel, Repeat, Sequence
from services.scenario.text.reader import Reader, integer, mapping, optional
from services.scenario.text.source import List, Node


def _read_sequence(node: Node, r: Reader, common: Common, place: Place) -> Sequence:
    return Sequence(**common, steps=place.read(node))


def _write_sequence(sequence: Sequence, place: WritePlace) -> dict[str, object]:
    return {"sequence": place.write(sequence.steps)}


def _read_parallel(node: Node, r: Reader, common: Common, place: Place) -> Parallel:
    if isinstance(node, List):
        return Parallel(**common, steps=place.read(node), max_parallel=None)
    inner = mapping(r.file, node, "parallel")
    parallel = Parallel(
        **common,
        steps=place.read(inner.need("steps", "parallel: {max: 4, steps: […]}")),
        max_parallel=inner.get("max", optional(integer(1), "all"), None),
    )
    inner.done()
    return parallel


def _write_parallel(parallel: Parallel, place: WritePlace) -> dict[str, object]:
    steps = place.write(parallel.steps)
    if parallel.max_parallel is None:
        return {"parallel": steps}
    return {"parallel": {"max": parallel.max_parallel, "steps": steps}}


def _read_repeat(node: Node, r: Reader, common: Common, place: Place) -> Repeat:
    inner = mapping(r.file, node, "repeat")
    repeat = Repeat(
        **common,
        times=integer(1, MAX_ITEMS)(r.file, inner.need("times", "repeat: {times: 5, steps: […]}")),
        steps=place.read(inner.need("steps", "repeat: {times: 5, steps: […]}")),
    )
    inner.done()
    return repeat


def _write_repeat(repeat: Repeat, place: WritePlace) -> dict[str, object]:
    return {"repeat": {"times": repeat.times, "steps": place.write(repeat.steps)}}


SEQUENCE: Final = Kind(Sequence, _read_sequence, _write_sequence)
PARALLEL: Final = Kind(Parallel, _read_parallel, _write_parallel)
REPEAT: Final = Kind(Repeat, _read_repeat, _write_repeat)
