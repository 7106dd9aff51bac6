"""Quantile curves as SVG, a panel a variant: its own curve over the baseline's, all on one scale.

Two curves a panel can be told apart in any colours, however many variants there are: one is solid,
one dashed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from math import floor, log10

from analysis.figures import ms
from analysis.report.distribution import POINTS, Curve

_WIDTH, _HEIGHT = 340, 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 14, 10, 24
_NINES = tuple(-log10(1 - q) for q in POINTS)
_TICKS = {0.0: "P0", 0.5: "P50", 0.9: "P90", 0.95: "P95", 0.99: "P99", 0.999: "P99.9"}


def panels(curves: Sequence[Curve], base: str) -> dict[str, str]:
    """An SVG element for each variant but ``base``, which is in all; of ``base`` where it is
    alone."""
    behind = next((curve for curve in curves if curve.variant == base), None)
    fronts = [curve for curve in curves if curve is not behind] or curves
    known = [
        (x, at) for of in curves for x, at in zip(_NINES, of.ms, strict=True) if at is not None
    ]
    scale = _Scale(
        nines=max((x for x, _ in known), default=0.0) or 1.0,
        top=max((at for _, at in known), default=0.0) or 1.0,
    )
    return {
        front.variant: scale.panel(front, behind if behind is not front else None)
        for front in fronts
    }


@dataclass(frozen=True, slots=True)
class _Scale:
    """Shared by all panels: quantiles in nines from 0, ms from 0."""

    nines: float
    top: float

    def x(self, nines: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * nines / self.nines

    def y(self, value: float) -> float:
        return _HEIGHT - _BOTTOM - (_HEIGHT - _BOTTOM - _TOP) * value / self.top

    def panel(self, front: Curve, behind: Curve | None) -> str:
        return "".join(
            [
                f'<svg class="quantiles" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
                f'aria-label="response times by quantile, {escape(front.variant)}">',
                *self._axes(),
                *([self._line(behind, "behind")] if behind is not None else []),
                self._line(front, "front"),
                *self._marks(front),
                "</svg>",
            ]
        )

    def _axes(self) -> Iterator[str]:
        for value in ticks(self.top):
            y = self.y(value)
            yield (
                f'<path class="grid" d="M{_LEFT},{y:.1f}H{_WIDTH - _RIGHT}"/>'
                f'<text class="tick" x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">'
                f"{value:,.6g} ms</text>"
            )
        for quantile, name in _TICKS.items():
            if (nines := -log10(1 - quantile)) <= self.nines + 0.01:
                yield (
                    f'<text class="tick" x="{self.x(nines):.1f}" y="{_HEIGHT - 8}" '
                    f'text-anchor="middle">{name}</text>'
                )

    def _line(self, curve: Curve, css: str) -> str:
        known = zip(_NINES, curve.ms, strict=True)
        points = (f"{self.x(x):.1f},{self.y(at):.1f}" for x, at in known if at is not None)
        return f'<polyline class="{css}" points="{" ".join(points)}"/>'

    def _marks(self, curve: Curve) -> Iterator[str]:
        for quantile, at in zip(POINTS, curve.ms, strict=True):
            if quantile in _TICKS and at is not None:
                said = f"{_TICKS[quantile]} {ms(at)}, all rounds together"
                yield (
                    f'<circle class="front" cx="{self.x(-log10(1 - quantile)):.1f}" '
                    f'cy="{self.y(at):.1f}" r="3"><title>{escape(said)}</title></circle>'
                )


def ticks(top: float) -> list[float]:
    """Four or so round ones, from 0."""
    rough = top / 4
    power = 10.0 ** floor(log10(rough))
    step = next(power * by for by in (1, 2, 2.5, 5, 10) if power * by >= rough)
    return [step * k for k in range(int(top / step) + 1)]
