"""The topology drawn as SVG: services in layers from the entry, edges with calls and times."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from analysis.figures import count, ms
from analysis.report.calls import EdgeView
from services.scenario.protocols import PROTOCOLS

_COLUMN = 216
_ROW = 74
_WIDTH = 112
_HEIGHT = 36
_MARGIN = 16
MOST_SERVICES = 80
"""Drawn, those between which most time passes."""
_READABLE = 900
"""Wider drawings shrink to the page down to this many pixels, then scroll."""


@dataclass(frozen=True, slots=True)
class _Link:
    """All operations of one caller→callee pair over one protocol, drawn as one line."""

    caller: str
    callee: str
    protocol: str
    calls_per_request: float
    errors: int
    label: str
    text: str


def _label(rows: Sequence[EdgeView]) -> str:
    """What one operation takes is no figure of another: several are only counted together."""
    calls = count(round(sum(row.calls_per_request for row in rows), 2))
    if len(rows) == 1:
        return f"{calls}× · {ms(rows[0].client_p50)}"
    called = len({row.operation for row in rows})
    return f"{calls}× · " + (f"{called} operations" if called > 1 else f"{len(rows)} callers")


def _links(edges: Sequence[EdgeView]) -> list[_Link]:
    groups: dict[tuple[str, str, str], list[EdgeView]] = defaultdict(list)
    for edge in edges:
        groups[edge.caller, edge.callee, edge.protocol].append(edge)
    links = []
    for (caller, callee, protocol), rows in sorted(groups.items()):
        links.append(
            _Link(
                caller=caller,
                callee=callee,
                protocol=protocol,
                calls_per_request=sum(row.calls_per_request for row in rows),
                errors=sum(row.errors for row in rows),
                label=_label(rows),
                text="; ".join(
                    f"{row.operation}: {count(row.calls_per_request)} calls per request, "
                    f"P50 {ms(row.client_p50)}"
                    for row in rows
                ),
            )
        )
    return links


def layers(links: Sequence[tuple[str, str]]) -> dict[str, int]:
    """Each service's column: the longest way to it, cycles cut where they would close.

    Kahn's order; what is left in cycles is entered at its lowest column by name.
    """
    services = sorted({name for link in links for name in link})
    incoming: dict[str, set[str]] = {name: set() for name in services}
    outgoing: dict[str, set[str]] = {name: set() for name in services}
    for caller, callee in links:
        if caller != callee:
            incoming[callee].add(caller)
            outgoing[caller].add(callee)
    column = dict.fromkeys(services, 0)
    waiting = {name: len(incoming[name]) for name in services}
    ready = [name for name in services if waiting[name] == 0]
    placed: set[str] = set()
    while len(placed) < len(services):
        if not ready:
            ready = [min(name for name in services if name not in placed)]
        name = ready.pop(0)
        if name in placed:
            continue
        placed.add(name)
        for callee in sorted(outgoing[name] - placed):
            column[callee] = max(column[callee], column[name] + 1)
            waiting[callee] -= 1
            if waiting[callee] == 0:
                ready.append(callee)
    return column


def _rows(column: dict[str, int], links: Sequence[_Link]) -> dict[str, float]:
    """Vertical places: by the mean place of the callers, so that lines cross little."""
    by_column: dict[int, list[str]] = defaultdict(list)
    for name, at in column.items():
        by_column[at].append(name)
    tallest = max((len(names) for names in by_column.values()), default=1)
    row: dict[str, float] = {}
    for at in sorted(by_column):

        def wish(name: str) -> tuple[float, str]:
            above = [
                row[link.caller] for link in links if link.callee == name and link.caller in row
            ]
            return (sum(above) / len(above) if above else 0.0, name)

        names = sorted(by_column[at], key=wish)
        top = (tallest - len(names)) / 2
        for i, name in enumerate(names):
            row[name] = top + i
    return row


def _foremost(edges: Sequence[EdgeView]) -> tuple[list[EdgeView], int]:
    """As many of the edges, most time first, as MOST_SERVICES have, and how many services are
    left out."""
    drawn: set[str] = set()
    kept: list[EdgeView] = []
    for edge in edges:
        both = drawn | {edge.caller, edge.callee}
        if len(both) <= MOST_SERVICES:
            drawn = both
            kept.append(edge)
    return kept, len({name for edge in edges for name in (edge.caller, edge.callee)} - drawn)


def topology_svg(edges: Sequence[EdgeView]) -> str:
    """An SVG element; empty text where there is no edge to draw."""
    edges, left_out = _foremost(edges)
    links = _links(edges)
    if not links:
        return ""
    column = layers([(link.caller, link.callee) for link in links])
    row = _rows(column, links)
    width = (max(column.values()) + 1) * _COLUMN - (_COLUMN - _WIDTH) + 2 * _MARGIN
    height = (max(row.values()) + 1) * _ROW - (_ROW - _HEIGHT) + 2 * _MARGIN + 22
    height += 18 if left_out else 0
    parts = [
        f'<svg class="topology" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}" style="min-width:{min(width, _READABLE):.0f}px" role="img" '
        'aria-label="topology">'
    ]
    heaviest = max(link.calls_per_request for link in links) or 1.0
    lanes: dict[tuple[str, str], int] = defaultdict(int)
    labels = []
    for link in links:
        lane = lanes[link.caller, link.callee]
        lanes[link.caller, link.callee] += 1
        x0 = _MARGIN + column[link.caller] * _COLUMN + _WIDTH
        y0 = _MARGIN + 11 + row[link.caller] * _ROW + _HEIGHT / 2 + lane * 9
        x1 = _MARGIN + column[link.callee] * _COLUMN
        y1 = _MARGIN + 11 + row[link.callee] * _ROW + _HEIGHT / 2 + lane * 9
        bend = max(40.0, abs(x1 - x0) / 2)
        stroke = 1.2 + 3.8 * link.calls_per_request / heaviest
        known = f" {link.protocol}" if link.protocol in PROTOCOLS else ""
        classes = f"link{known}" + (" failing" if link.errors else "")
        parts.append(
            f'<path class="{classes}" stroke-width="{stroke:.1f}" d="M{x0:.0f},{y0:.0f} '
            f'C{x0 + bend:.0f},{y0:.0f} {x1 - bend:.0f},{y1:.0f} {x1:.0f},{y1:.0f}">'
            f"<title>{escape(f'{link.caller} → {link.callee} ({link.protocol}): {link.text}')}"
            "</title></path>"
        )
        share = 0.5 if column[link.callee] - column[link.caller] <= 1 else 0.82
        x = x0 + (x1 - x0) * share
        y = y0 + (y1 - y0) * (share if share == 0.5 else 0.94) - 5 + lane * 6
        labels.append(
            f'<text class="label" x="{x:.0f}" y="{y:.0f}" text-anchor="middle">'
            f"{escape(link.label)}</text>"
        )
    for name, at in column.items():
        x = _MARGIN + at * _COLUMN
        y = _MARGIN + 11 + row[name] * _ROW
        parts.append(
            f'<g class="service"><rect x="{x}" y="{y:.0f}" width="{_WIDTH}" height="{_HEIGHT}" '
            f'rx="6"/><text x="{x + _WIDTH / 2}" y="{y + _HEIGHT / 2 + 4:.0f}" '
            f'text-anchor="middle">{escape(name)}</text></g>'
        )
    parts.extend(labels)
    if left_out:
        parts.append(
            f'<text class="label" x="{_MARGIN}" y="{height - 4:.0f}">'
            f"and {left_out:,} more services, between which less time passes</text>"
        )
    parts.append("</svg>")
    return "".join(parts)
