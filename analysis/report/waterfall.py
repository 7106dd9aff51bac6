"""One trace as evidence: its spans over time, those that a finding cites marked, as HTML.

Names stand beside the bars, or above them where the page is narrow.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import polars as pl

from analysis.arrays.quantiles import NS_PER_MS
from analysis.figures import ms
from analysis.spans.parquet import KINDS
from analysis.spans.table import QUEUE_NS

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
    queue_ns: int = 0
    """From its start, until a worker took it."""


def read_trace(spans: Sequence[Path], trace_id: str) -> tuple[Bar, ...]:
    """The spans of one trace in drawing order (each below its parent, by start time)."""
    columns = ["span", "parent", "start", "end", "kind", "service", "operation", "status",
               "attributes"]  # fmt: skip
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
                queue_ns=_queue(row["attributes"]),
            )
        )
        stack.extend((child, depth + 1) for child in below.get(row["span"], ()))
    return tuple(bars)


def _queue(attributes: object) -> int:
    said = attributes.get(QUEUE_NS, "") if isinstance(attributes, dict) else ""
    return int(said) if said.isdecimal() else 0


def _integer(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(f"a span time must be an integer, not {value!r}")
    return value


def waterfall(bars: Sequence[Bar], cited: Collection[str]) -> str:
    """A list; empty text for a trace without spans. ``cited`` are span ids."""
    if not bars:
        return ""
    length = max(1, *(bar.end_ns for bar in bars))
    ticks = (
        f'<span class="tick" style="left:{25 * tick}%">{escape(ms(length * tick / 4 / NS_PER_MS))}'
        "</span>"
        for tick in range(5)
    )
    parts = [
        '<ul class="waterfall">',
        f'<li class="ticks"><span class="lane">{"".join(ticks)}</span></li>',
    ]
    for bar in bars[:_MOST_LINES]:
        start, end = (100 * at / length for at in (bar.start_ns, bar.end_ns))
        classes = f"bar {bar.kind}" if bar.kind in KINDS else "bar"
        if bar.span in cited:
            classes += " cited"
        if bar.error:
            classes += " error"
        lasted = bar.end_ns - bar.start_ns
        duration, queued = ms(lasted / NS_PER_MS), ""
        title = f"{bar.label} ({bar.kind}), {duration}"
        if bar.queue_ns:
            share = 100 * min(bar.queue_ns / max(lasted, 1), 1)
            queued = f'<span class="queued" style="width:{share:.2f}%"></span>'
            title += f", {ms(bar.queue_ns / NS_PER_MS)} of it queued"
        parts.append(
            f'<li title="{escape(title)}">'
            f'<span class="name" style="padding-left:{min(bar.depth, 14) * 9}px">'
            f"{escape(bar.label)}</span>"
            f'<span class="lane"><span class="{classes}" '
            f'style="left:{start:.2f}%;width:{end - start:.2f}%">{queued}</span>'
            f'<span class="time" style="left:{end:.2f}%">{escape(duration)}</span></span></li>'
        )
    if (left := len(bars) - _MOST_LINES) > 0:
        parts.append(f'<li class="note">… {left:,} more spans</li>')
    parts.append("</ul>")
    return "".join(parts)
