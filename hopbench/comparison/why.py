"""Why it changed: the change of the mean duration of requests, part by part, exactly."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from hopbench.comparison.document import Means, Sides, WhyRow
from hopbench.comparison.measured import Measured
from hopbench.comparison.partition import Partition
from hopbench.comparison.side import Side, of_difference
from hopbench.statistics import blocks
from hopbench.statistics.signed_rank import signed_rank


def why(side: Side) -> tuple[WhyRow, ...]:
    """The largest change first. A part that a round has nothing of is 0 there."""
    a, b = _parts(side, 0), _parts(side, side.arm)
    if a is None or b is None:
        return ()
    names = list(dict.fromkeys(name for each in (*a, *b) for name in each.parts_ms))
    called = {name for each in (*a, *b) for name in each.calls}
    names += sorted(called - set(names))
    rows = [_row(side, name, a, b, called=name in called) for name in names]
    return tuple(sorted(rows, key=lambda row: (-abs(row.b_ms - row.a_ms), row.edge)))


def means(side: Side) -> Means:
    a, b = _parts(side, 0), _parts(side, side.arm)
    return Means(
        sampled=Sides(
            None if a is None else _mean([each.root_ms for each in a]),
            None if b is None else _mean([each.root_ms for each in b]),
        ),
        headline=Sides(_headline(side.of(0)), _headline(side.of(side.arm))),
    )


def _row(
    side: Side, name: str, a: Sequence[Partition], b: Sequence[Partition], *, called: bool
) -> WhyRow:
    def part(each: Measured) -> float:
        return 0.0 if each.parts is None else each.parts.parts_ms.get(name, 0.0)

    def calls(of: Sequence[Partition]) -> float | None:
        return _mean([each.calls.get(name, 0.0) for each in of]) if called else None

    return WhyRow(
        edge=name,
        a_ms=_mean([each.parts_ms.get(name, 0.0) for each in a]),
        b_ms=_mean([each.parts_ms.get(name, 0.0) for each in b]),
        change_ms=of_difference(_change(side, part)),
        a_calls=calls(a),
        b_calls=calls(b),
    )


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
