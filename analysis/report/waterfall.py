"""One trace as evidence: its spans over time, those that a finding cites marked, as SVG."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import polars as pl

from analysis.arrays.quantiles import NS_PER_MS
from analysis.report.figures import ms
from analysis.spans.parquet import KINDS

_LINE = 17
_LABEL = 250
_TIME = 620
_MOST_LINES = 80


@dataclass(frozen=True, slots=True)
class Bar:
    """One span: times in ns from the start of its trace, ``depth`` from the root."""

    span: str
    label: str
    kind: str
    start_ns: int
    end_ns: int
    depth: int
    error: bool


def read_trace(spans: Sequence[Path], trace_id: str) -> tuple[Bar, ...]:
    """The spans of one trace in drawing order (each below its parent, by start time)."""
    columns = ["span", "parent", "start", "end", "kind", "service", "operation", "status"]
    for path in spans:
        rows = pl.scan_parquet(path, glob=False).filter(pl.col("trace") == trace_id).select(columns)
        found = rows.collect()
        if found.height:
            return _ordered(found.to_dicts())
    return ()


def _ordered(rows: Sequence[dict[str, object]]) -> tuple[Bar, ...]:
    known = {row["span"] for row in rows}
    below: dict[object, list[dict[str, object]]] = defaultdict(list)
    for row in rows:
        below[row["parent"] if row["parent"] in known else None].append(row)
    for siblings in below.values():
        siblings.sort(key=lambda r: (_integer(r["start"]), str(r["span"])), reverse=True)
    origin = min(_integer(row["start"]) for row in rows)
    bars: list[Bar] = []
    stack = [(row, 0) for row in below[None]]
    while stack:
        row, depth = stack.pop()
        bars.append(
            Bar(
                span=str(row["span"]),
                label=f"{row['service']} {row['operation']}",
                kind=str(row["kind"]).lower(),
                start_ns=_integer(row["start"]) - origin,
                end_ns=_integer(row["end"]) - origin,
                depth=depth,
                error=str(row["status"]).lower() == "error",
            )
        )
        stack.extend((child, depth + 1) for child in below.get(row["span"], ()))
    return tuple(bars)


def _integer(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(f"a span time must be an integer, not {value!r}")
    return value


def waterfall_svg(bars: Sequence[Bar], cited: Collection[str]) -> str:
    """An SVG element; empty text for a trace without spans. ``cited`` are span ids."""
    if not bars:
        return ""
    shown = bars[:_MOST_LINES]
    length = max(1, *(bar.end_ns for bar in bars))
    height = _LINE * (len(shown) + 1 + (len(bars) > len(shown))) + 8
    width = _LABEL + _TIME + 70
    parts = [
        f'<svg class="waterfall" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'role="img" aria-label="trace">'
    ]
    for tick in range(5):
        x = _LABEL + _TIME * tick / 4
        parts.append(
            f'<line class="grid" x1="{x:.0f}" x2="{x:.0f}" y1="{_LINE}" y2="{height - 4}"/>'
            f'<text class="tick" x="{x:.0f}" y="11" text-anchor="middle">'
            f"{escape(ms(length * tick / 4 / NS_PER_MS))}</text>"
        )
    for i, bar in enumerate(shown, start=1):
        y = i * _LINE + 3
        x = _LABEL + _TIME * bar.start_ns / length
        w = max(_TIME * (bar.end_ns - bar.start_ns) / length, 1.0)
        classes = f"bar {bar.kind}" if bar.kind in KINDS else "bar"
        if bar.span in cited:
            classes += " cited"
        if bar.error:
            classes += " error"
        duration = ms((bar.end_ns - bar.start_ns) / NS_PER_MS)
        indent = min(bar.depth, 14) * 9
        parts.append(
            f'<text class="name" x="{indent}" y="{y + 10}">{escape(_cut(bar.label, indent))}</text>'
            f'<rect class="{classes}" x="{x:.1f}" y="{y}" width="{w:.1f}" height="{_LINE - 5}" '
            f'rx="2"><title>{escape(f"{bar.label} ({bar.kind}), {duration}")}</title></rect>'
            f'<text class="time" x="{x + w + 4:.1f}" y="{y + 10}">{escape(duration)}</text>'
        )
    if len(bars) > len(shown):
        y = (len(shown) + 1) * _LINE + 13
        parts.append(
            f'<text class="name" x="0" y="{y}">… {len(bars) - len(shown)} more spans</text>'
        )
    parts.append("</svg>")
    return "".join(parts)


def _cut(label: str, indent: int) -> str:
    most = max(8, (_LABEL - indent - 8) // 7)
    return label if len(label) <= most else label[: most - 1] + "…"
