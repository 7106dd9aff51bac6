"""Ratios as SVG: an interval a row, and b/a at each quantile. Both are logarithmic: as much faster
is as far from 1 as that much slower.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from hopbench.comparison.document import MetricRow, RatioPoint
from hopbench.comparison.sentence import interval, ratio
from hopbench.comparison.shown.forest import Scale, marks, scale

_WIDTH: Final = 420
_ROW: Final = 26
_ROOM: Final = 8
"""Left and right of the scale, for a dot's half."""
_HEIGHT, _LEFT, _BOTTOM, _TOP = 190, 44, 24, 10
_QUANTILES: Final = {0.05: "P5", 0.5: "P50", 0.9: "P90", 0.95: "P95", 0.99: "P99", 0.999: "P99.9"}


def forest(rows: Sequence[MetricRow], delta: float) -> tuple[str, tuple[str, ...]]:
    """An SVG element of the axis, and one for each row; on one scale."""
    on = scale(rows, _WIDTH - 2 * _ROOM, delta)
    axis = "".join(
        f'<text class="tick" x="{_x(on, mark):.1f}" y="14" text-anchor="middle">{mark:g}</text>'
        for mark in marks(on, apart=30)
    )
    drawn = tuple("".join(_bar(on, row)) for row in rows)
    return _svg("ratios, b/a", _WIDTH, 18, axis), drawn


def quantiles(points: Sequence[RatioPoint], delta: float) -> str:
    """b/a by quantile with its band, as one SVG element."""
    plot = _Quantiles(points, delta)
    return _svg(f"b/a by quantile, {points[0].entry}", _WIDTH, _HEIGHT, "".join(plot.drawn()))


def _x(on: Scale, value: float) -> float:
    return _ROOM + on.at(value)


def _bar(on: Scale, row: MetricRow) -> Iterator[str]:
    """Nothing of what has no ratio."""
    if row.ratio is None:
        return
    low, high = row.interval_adjusted
    left = 0.0 if low is None else _x(on, low)
    right = float(_WIDTH) if high is None else _x(on, high)
    middle, height = _ROW / 2, _ROW + (16 if row.primary else 0)
    yield (
        f'<svg class="forest" viewBox="0 0 {_WIDTH} {height}" role="img" '
        f'aria-label="{ratio(row.ratio)} {interval(row.interval_adjusted)}">'
    )
    if on.delta:
        first, last = _x(on, 1 / (1 + on.delta)), _x(on, 1 + on.delta)
        yield f'<rect class="band" x="{first:.1f}" width="{last - first:.1f}" height="{height}"/>'
    yield f'<path class="one" d="M{_x(on, 1.0):.1f},0V{height}"/>'
    if row.primary:
        for pair in row.pairs:
            said = f"{ratio(pair.b / pair.a)}, one pair"
            yield (
                f'<circle class="pair" cx="{_x(on, pair.b / pair.a):.1f}" cy="{_ROW + 5}" r="3">'
                f"<title>{escape(said)}</title></circle>"
            )
    yield f'<path class="interval {row.verdict}" d="M{left:.1f},{middle}H{right:.1f}"/>'
    for end, known in ((left, low), (right, high)):
        if known is not None:
            yield (
                f'<path class="interval {row.verdict}" d="M{end:.1f},{middle - 4}V{middle + 4}"/>'
            )
    at = _x(on, row.ratio)
    yield f'<circle class="estimate {row.verdict}" cx="{at:.1f}" cy="{middle}" r="4.5"/></svg>'


@dataclass(frozen=True, slots=True)
class _Quantiles:
    points: Sequence[RatioPoint]
    delta: float

    def drawn(self) -> Iterator[str]:
        first, last = self._y(1 + self.delta), self._y(1 / (1 + self.delta))
        right = _WIDTH - _ROOM
        if self.delta:
            yield (
                f'<rect class="band" x="{_LEFT}" y="{first:.1f}" width="{right - _LEFT}" '
                f'height="{last - first:.1f}"/>'
            )
        yield f'<path class="one" d="M{_LEFT},{self._y(1.0):.1f}H{right}"/>'
        on = Scale(*self._ends(), width=_HEIGHT - _BOTTOM - _TOP, delta=self.delta)
        for mark in marks(on, apart=18):
            yield (
                f'<text class="tick" x="{_LEFT - 6}" y="{self._y(mark) + 4:.1f}" '
                f'text-anchor="end">{mark:g}</text>'
            )
        shown = {point.quantile for point in self.points}
        for quantile, name in _QUANTILES.items():
            if quantile in shown:
                yield (
                    f'<text class="tick" x="{self._x(quantile):.1f}" y="{_HEIGHT - 8}" '
                    f'text-anchor="middle">{name}</text>'
                )
        lowest, highest = (math.exp(end) for end in self._ends())
        upper = [(p.quantile, highest if p.high is None else p.high) for p in self.points]
        lower = [(p.quantile, lowest if p.low is None else p.low) for p in self.points]
        yield f'<polygon class="around" points="{self._line([*upper, *reversed(lower)])}"/>'
        middle = [(p.quantile, p.ratio) for p in self.points]
        yield f'<polyline class="front" points="{self._line(middle)}"/>'

    def _ends(self) -> tuple[float, float]:
        """Logarithms: of every estimate, bounded end, the band of equivalence, and 1."""
        shown = [1 / (1 + 2 * self.delta), 1 + 2 * self.delta, 0.98, 1.02]
        for point in self.points:
            shown += [each for each in (point.ratio, point.low, point.high) if each is not None]
        return math.log(min(shown)), math.log(max(shown))

    def _x(self, quantile: float) -> float:
        """In nines, as latency is drawn elsewhere."""
        low, high = (-math.log10(1 - self.points[at].quantile) for at in (0, -1))
        share = (-math.log10(1 - quantile) - low) / ((high - low) or 1.0)
        return _LEFT + 12 + (_WIDTH - _LEFT - _ROOM - 34) * share

    def _y(self, value: float) -> float:
        low, high = self._ends()
        return _TOP + (_HEIGHT - _BOTTOM - _TOP) * (high - math.log(value)) / (high - low)

    def _line(self, points: Sequence[tuple[float, float]]) -> str:
        return " ".join(f"{self._x(q):.1f},{self._y(value):.1f}" for q, value in points)


def _svg(label: str, width: int, height: int, inside: str) -> str:
    return (
        f'<svg class="forest" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(label)}">{inside}</svg>'
    )
