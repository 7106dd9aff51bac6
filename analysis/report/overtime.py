"""A round second by second, as SVG: what was sent, answered and in flight, and how long it took.

An overload shows as answers that fall behind, and as a ramp.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from analysis.figures import count, ms
from analysis.report.panels import ticks

_WIDTH, _HEIGHT = 340, 150
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 14, 10, 22
_APART = 34
"""Between two words below the axis."""


@dataclass(frozen=True, slots=True)
class Second:
    """``at_s`` counts from the start of the measured phase; warm-up is below 0."""

    at_s: int
    sent: int
    answered: int
    dropped: int
    in_flight: int
    """When it ended."""
    p50_ms: float | None
    """Response time of the requests that were due in it and were answered, by nearest rank of
    however many."""
    p95_ms: float | None
    consumer_lag: int | None
    """Messages in Kafka that no worker had taken when it ended; None where none went over it."""


@dataclass(frozen=True, slots=True)
class _Line:
    css: str
    name: str
    of: Callable[[Second], float | None]


_PLOTS = (
    (
        "requests/s",
        count,
        (
            _Line("behind", "sent", lambda s: s.sent),
            _Line("front", "answered", lambda s: s.answered),
        ),
    ),
    ("in flight", count, (_Line("front", "in flight", lambda s: s.in_flight),)),
    ("consumer lag", count, (_Line("front", "messages", lambda s: s.consumer_lag),)),
    (
        "response",
        ms,
        (
            _Line("front", "P95", lambda s: s.p95_ms),
            _Line("behind", "P50", lambda s: s.p50_ms),
        ),
    ),
)


def over_time(seconds: Sequence[Second]) -> tuple[tuple[str, str], ...]:
    """(title, SVG element) of each plot; none of a round of less than two seconds."""
    if len(seconds) < 2:
        return ()
    return tuple(
        (
            f"{title}: {' and '.join(f'{line.name} ({_STYLE[line.css]})' for line in lines)}"
            if len(lines) > 1
            else title,
            "".join(_plot(title, said, lines, seconds)),
        )
        for title, said, lines in _PLOTS
        if any(line.of(s) is not None for line in lines for s in seconds)
    )


_STYLE = {"front": "solid", "behind": "dashed"}


def _plot(
    title: str,
    said: Callable[[float | None], str],
    lines: Sequence[_Line],
    seconds: Sequence[Second],
) -> Iterator[str]:
    first, last = seconds[0].at_s, seconds[-1].at_s
    known = [value for line in lines for s in seconds if (value := line.of(s)) is not None]
    top = max(known, default=0.0) or 1.0

    def x(second: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (second - first) / (last - first)

    def y(value: float) -> float:
        return _HEIGHT - _BOTTOM - (_HEIGHT - _BOTTOM - _TOP) * value / top

    yield (
        f'<svg class="quantiles" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{title} over time">'
    )
    for value in ticks(top):
        yield (
            f'<path class="grid" d="M{_LEFT},{y(value):.1f}H{_WIDTH - _RIGHT}"/>'
            f'<text class="tick" x="{_LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end">'
            f"{said(value)}</text>"
        )
    begins = (first,) if not first < 0 < last or x(0) - x(first) > _APART else ()
    for second in dict.fromkeys((*begins, 0, last)):
        if first <= second <= last:
            yield (
                f'<text class="tick" x="{x(second):.1f}" y="{_HEIGHT - 6}" text-anchor="middle">'
                f"{second} s</text>"
            )
    if first < 0 < last:
        yield f'<path class="grid" d="M{x(0):.1f},{_TOP}V{_HEIGHT - _BOTTOM}"/>'
    for line in lines:
        points = " ".join(
            f"{x(s.at_s):.1f},{y(value):.1f}" for s in seconds if (value := line.of(s)) is not None
        )
        yield f'<polyline class="{line.css}" points="{points}"/>'
    yield "</svg>"
