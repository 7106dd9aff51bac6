"""Why it changed: the change of the mean duration of requests, part by part, exactly."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np

from hopbench.comparison.document import Means, Sides, WhyRow
from hopbench.comparison.measured import Measured
from hopbench.comparison.partition import Partition, Parts
from hopbench.comparison.side import Side, of_difference
from hopbench.statistics import blocks
from hopbench.statistics.signed_rank import signed_rank


def why(side: Side) -> tuple[WhyRow, ...]:
    """By edge, then by call path, each time the largest change first. A part that a round has
    nothing of is 0 there."""
    a, b = _parts(side, 0), _parts(side, side.arm)
    if a is None or b is None:
        return ()
    by_edge = _rows(side, a, b, lambda of: of.by_edge)
    by_path = _rows(side, a, b, lambda of: of.by_path)
    return (
        *(replace(row, edge=name) for name, row in by_edge),
        *(replace(row, path=name) for name, row in by_path),
    )


def means(side: Side) -> Means:
    a, b = _parts(side, 0), _parts(side, side.arm)
    return Means(
        sampled=Sides(
            None if a is None else _mean([each.root_ms for each in a]),
            None if b is None else _mean([each.root_ms for each in b]),
        ),
        headline=Sides(_headline(side.of(0)), _headline(side.of(side.arm))),
    )


def _rows(
    side: Side,
    a: Sequence[Partition],
    b: Sequence[Partition],
    parts: Callable[[Partition], Parts],
) -> list[tuple[str, WhyRow]]:
    """With what the part is called."""
    ours, theirs = ([parts(each) for each in arm] for arm in (a, b))
    called = dict.fromkeys(name for each in (*ours, *theirs) for name in each.calls)
    names = dict.fromkeys(name for each in (*ours, *theirs) for name in each.ms) | called

    def row(name: str) -> WhyRow:
        a_ms, b_ms = (_mean([each.ms.get(name, 0.0) for each in arm]) for arm in (ours, theirs))
        a_calls, b_calls = (
            _mean([each.calls.get(name, 0.0) for each in arm]) if name in called else None
            for arm in (ours, theirs)
        )
        change = _change(side, lambda each: (each.parts and parts(each.parts).ms.get(name)) or 0.0)
        return WhyRow(None, None, a_ms, b_ms, of_difference(change), a_calls, b_calls)

    rows = [(name, row(name)) for name in names]
    return sorted(rows, key=lambda each: (-abs(each[1].b_ms - each[1].a_ms), each[0]))


def _change(side: Side, part: Callable[[Measured], float]) -> tuple[float, float]:
    ranks = signed_rank(blocks.units(side.paired(part)))
    interval = ranks.interval(side.design.alpha)
    return interval.low, interval.high


def _parts(side: Side, arm: int) -> list[Partition] | None:
    found = [each.parts for each in side.of(arm)]
    known = [each for each in found if each is not None]
    return known if known and len(known) == len(found) else None


def _headline(rounds: Iterable[Measured]) -> float | None:
    found = [each.mean_ms for each in rounds]
    known = [mean for mean in found if mean is not None]
    return _mean(known) if known and len(known) == len(found) else None


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))
