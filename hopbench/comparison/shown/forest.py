"""Ratios as text: an interval a line, the band of equivalence behind it, a dot for each pair."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from hopbench.comparison.document import Interval, MetricRow

BAND: Final = "░"
ONE: Final = "│"
_DOTS: Final = ".:⁖⁘"
"""One pair, two, three, more in the same place."""
_ROUND: Final = (
    0.01,
    0.02,
    0.05,
    0.1,
    0.2,
    0.25,
    0.3,
    0.4,
    0.5,
    0.6,
    0.7,
    0.8,
    0.9,
    1.1,
    1.25,
    1.5,
    2,
    3,
    5,
    10,
    20,
    50,
)
"""What an axis is marked with, beside 1."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Logarithmic: as much faster is as far from 1 as that much slower."""

    low: float
    high: float
    width: int
    delta: float

    def at(self, ratio: float) -> int:
        """A column, from 0; what lies outside is at the edge."""
        if ratio <= 0:
            return 0
        share = (math.log(ratio) - self.low) / (self.high - self.low)
        return round(min(1.0, max(0.0, share)) * (self.width - 1))

    def axis(self) -> str:
        """Marks where there is room for them."""
        line = [" "] * self.width
        for mark in marks(self, apart=6):
            text = f"{mark:g}"
            start = min(max(0, self.at(mark) - len(text) // 2), self.width - len(text))
            line[start : start + len(text)] = text
        return "".join(line).rstrip()

    def _ground(self) -> list[str]:
        line = [" "] * self.width
        first, last = self.at(1 / (1 + self.delta)), self.at(1 + self.delta)
        if self.delta:
            line[first : last + 1] = BAND * (last - first + 1)
        line[self.at(1.0)] = ONE
        return line

    def bar(self, ratio: float, interval: Interval) -> str:
        """``├──●──┤``; an open end has an arrow."""
        low, high = interval
        line = self._ground()
        first = 0 if low is None else self.at(low)
        last = self.width - 1 if high is None else self.at(high)
        line[first : last + 1] = "─" * (last - first + 1)
        line[first] = "◂" if low is None else "├"
        line[last] = "▸" if high is None else "┤"
        line[self.at(ratio)] = "●"
        return "".join(line).rstrip()

    def dots(self, ratios: Iterable[float]) -> str:
        line, counts = self._ground(), [0] * self.width
        for ratio in ratios:
            counts[self.at(ratio)] += 1
        for column, count in enumerate(counts):
            if count:
                line[column] = _DOTS[min(count, len(_DOTS)) - 1]
        return "".join(line).rstrip()


def marks(on: Scale, apart: int) -> tuple[float, ...]:
    """Round ratios with at least so many columns between them: 1 first."""
    shown: list[float] = []
    for mark in (1.0, *_ROUND):
        if not on.low <= math.log(mark) <= on.high:
            continue
        if all(abs(on.at(mark) - on.at(each)) >= apart for each in shown):
            shown.append(mark)
    return tuple(shown)


def scale(rows: Sequence[MetricRow], width: int, delta: float) -> Scale:
    """One that has every estimate, every bounded end, every pair of the primary metric, and 1."""
    shown = [1.0, 1 / (1 + 2 * delta), 1 + 2 * delta, 1.02, 1 / 1.02]
    for row in rows:
        if row.ratio is None:
            continue
        shown += [row.ratio, *(end for end in row.interval_adjusted if end is not None)]
        if row.primary:
            shown += [pair.b / pair.a for pair in row.pairs]
    logs = [math.log(each) for each in shown]
    return Scale(min(logs), max(logs), width, delta)
