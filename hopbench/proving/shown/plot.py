"""The rungs as SVG, on one scale of milliseconds saved: promised beside measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import Final

from hopbench.proving.document import Step
from hopbench.proving.shown.words import promised, saved

_WIDTH: Final = 420
_ROW: Final = 34
_ROOM: Final = 10


def ladder(steps: Sequence[Step]) -> tuple[str, tuple[str, ...]]:
    """An SVG element of the axis, and one for each step."""
    on = _Scale(steps)
    marks = "".join(
        f'<text class="tick" x="{on.at(mark):.1f}" y="14" text-anchor="middle">{mark:g}</text>'
        for mark in on.marks()
    )
    said = 'role="img" aria-label="ms saved"'
    axis = f'<svg class="rung" viewBox="0 0 {_WIDTH} 18" {said}>{marks}</svg>'
    return axis, tuple("".join(_rung(on, step)) for step in steps)


class _Scale:
    def __init__(self, steps: Sequence[Step]) -> None:
        ends = [0.0]
        for step in steps:
            ends += step.predicted_ms or ()
            ends += [end for end in (*(step.saved_ms or ()), step.estimate_ms) if end is not None]
        self._low, self._high = min(ends), max(*ends, min(ends) + 1e-3)

    def at(self, ms: float) -> float:
        return _ROOM + (ms - self._low) / (self._high - self._low) * (_WIDTH - 2 * _ROOM)

    def marks(self) -> Iterator[float]:
        """0, and round numbers between the ends."""
        step = 10.0 ** len(str(int(self._high - self._low)))
        while (self._high - self._low) / step < 3:
            step /= 2 if f"{step:.0e}"[0] != "5" else 2.5
        number = -(-self._low // step) * step
        while number <= self._high:
            yield round(number, 9) + 0.0
            number += step


def _rung(on: _Scale, step: Step) -> Iterator[str]:
    kind = "held" if step.held else "fell"
    said = f"promised {promised(step)} ms, saved {saved(step)} ms"
    yield (
        f'<svg class="rung {kind}" viewBox="0 0 {_WIDTH} {_ROW}" role="img" '
        f'aria-label="{escape(said)}"><title>{escape(said)}</title>'
    )
    yield f'<path class="zero" d="M{on.at(0.0):.1f},0V{_ROW}"/>'
    if step.predicted_ms is not None:
        low, high = (on.at(end) for end in step.predicted_ms)
        middle, y = (low + high) / 2, 10
        yield f'<path class="promise" d="M{low:.1f},{y}H{high:.1f}"/>'
        yield (
            f'<path class="diamond" d="M{middle - 6:.1f},{y}L{middle:.1f},{y - 6}'
            f'L{middle + 6:.1f},{y}L{middle:.1f},{y + 6}Z"/>'
        )
    if step.estimate_ms is not None and step.saved_ms is not None:
        low_ms, high_ms = step.saved_ms
        left = 0.0 if low_ms is None else on.at(low_ms)
        right = float(_WIDTH) if high_ms is None else on.at(high_ms)
        y = _ROW - 10
        yield f'<path class="saved" d="M{left:.1f},{y}H{right:.1f}"/>'
        yield f'<circle class="dot" cx="{on.at(step.estimate_ms):.1f}" cy="{y}" r="5"/>'
    yield "</svg>"
