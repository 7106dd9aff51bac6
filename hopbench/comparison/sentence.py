"""The verdict in one sentence: what changed by how much, what it is called, and what got worse."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from analysis.figures import count, digits, least
from hopbench.comparison.document import GuardrailRow, Interval, MetricRow, WhyRow
from hopbench.comparison.metrics import FAILED, METRICS
from hopbench.runs.design import Design
from hopbench.statistics.effect import Outcome

_COUNTED: Final = {Outcome.FASTER: "less", Outcome.SLOWER: "more"}
"""Of what is no time."""
_CAUSES: Final = 3
_ALIKE: Final = 0.5
_GONE: Final = 0.05
"""Shares: of the largest change, and of what a part was."""


def word(metric: str, outcome: Outcome) -> str:
    """Faster and slower are said of times."""
    timed = metric != FAILED and METRICS[metric].timed
    return outcome.value if timed else _COUNTED.get(outcome, outcome.value)


def named(metric: str, entry: str | None) -> str:
    text = "failed requests" if metric == FAILED else METRICS[metric].text
    return text if entry is None else f"{entry} {text}"


def arm_name(design: Design, arm: int) -> str:
    """Its variant, and where several arms are of that one, its number."""
    name = design.arms[arm]
    return name if design.arms.count(name) == 1 else f"{name} ({arm + 1})"


def sentence(
    name: str,
    outcome: Outcome,
    first: MetricRow | None,
    guardrails: Sequence[GuardrailRow],
    *,
    why: Sequence[WhyRow] = (),
    rows: Sequence[MetricRow] = (),
) -> str:
    """``first`` is the row of the primary metric, where there is one; ``rows`` are all of them."""
    worse = ", ".join(f"{named(g.metric, g.entry)} {change(g)}" for g in guardrails if g.worse)
    if first is None and not guardrails:
        return f"{name}: void, since no block is whole and without a void round."
    if first is None:
        told = f"{name}: void, since not every round tells the primary metric"
        return f"{told}; {worse}." if worse else f"{told}."
    what = named(first.metric, first.entry)
    by_entry: list[str] = []
    if first.entry is None and METRICS[first.metric].by_entry:
        what = f"{what} of all entries"
        each = [row for row in rows if row.metric == first.metric and row.entry is not None]
        by_entry = [", ".join(f"{row.entry} {changed(row)}" for row in each)] if each else []
    figure = f"{what} {sides(first)}, {changed(first)} {ends(first)}"
    if outcome is Outcome.VOID:
        return f"{name}: {figure}, but no verdict (void)."
    told = f"{name}: {figure}, {word(first.metric, outcome)}"
    if outcome in (Outcome.FASTER, Outcome.SLOWER) and METRICS[first.metric].by_entry:
        reasons = [*by_entry, *_causes(why)]
        told += f" ({'; '.join(reasons)})" if reasons else ""
    if outcome is Outcome.INCONCLUSIVE and first.mde is not None:
        told += f" (a change of {least(first.mde)} is called in 4 of 5)"
    unknown = [named(g.metric, g.entry) for g in guardrails if not g.worse and not g.ruled_out]
    if worse:
        told += f", {'but' if outcome is Outcome.FASTER else 'and'} {worse}"
    if unknown:
        return f"{told}; not ruled out: worse {' or '.join(unknown)}."
    if not guardrails or worse:
        return f"{told}."
    return f"{told}; nothing {'else ' if outcome is Outcome.SLOWER else ''}got worse."


def changed(row: MetricRow) -> str:
    """The ratio; of what has none the difference."""
    if row.ratio is not None:
        return ratio(row.ratio)
    assert row.difference is not None
    return _points(row.difference) if row.metric == FAILED else _plain(row.difference)


def ends(row: MetricRow) -> str:
    """Of the interval."""
    if row.ratio is not None:
        return interval(row.interval_adjusted)
    low, high = row.interval_adjusted
    by = 100.0 if row.metric == FAILED else 1.0
    shown = (None if end is None else _plain(by * end) for end in (low, high))
    first, last = shown
    return f"[{'-∞' if first is None else first}, {'∞' if last is None else last}]"


def _points(share: float) -> str:
    return f"{_plain(100 * share)} points"


def _plain(value: float) -> str:
    """Two digits, with a sign."""
    return f"{'+' if value > 0 else ''}{digits(value, 2)}" if value else "±0"


def ratio(value: float) -> str:
    return f"{value:.3g}×" if value < 0.995 or value >= 1.005 else f"{value:.4g}×"


def interval(ends: Interval) -> str:
    """Three digits, and as many more as keep the ends apart."""
    low, high = ends
    if low is None or high is None:
        return f"[{'0' if low is None else f'{low:.3g}'}, {'∞' if high is None else f'{high:.3g}'}]"
    digits = next((n for n in (3, 4, 5) if f"{low:.{n}g}" != f"{high:.{n}g}"), 3)
    return f"[{low:.{digits}g}, {high:.{digits}g}]"


def change(row: GuardrailRow) -> str:
    """Of a guardrail: a share more, or points more."""
    if row.ratio is not None:
        return f"{_plain(100 * (row.ratio - 1))} %" if abs(row.ratio - 1) > 5e-4 else "±0 %"
    assert row.difference is not None
    return _points(row.difference)


def calls(row: WhyRow) -> str:
    """Per request: ``6 → 1``, or one figure where both are the same; empty of an entry itself."""
    if row.a_calls is None or row.b_calls is None:
        return ""
    a, b = count(row.a_calls), count(row.b_calls)
    return a if a == b else f"{a} → {b}"


def _causes(why: Sequence[WhyRow]) -> list[str]:
    """The part of the mean duration that changed most, and those that changed about as much."""
    why = [row for row in why if row.path is None]
    largest = why[0].b_ms - why[0].a_ms if why else 0.0
    if not largest:
        return []
    return [
        _cause(row)
        for row in why[:_CAUSES]
        if (row.b_ms - row.a_ms) / largest > _ALIKE or row is why[0]
    ]


def _cause(row: WhyRow) -> str:
    by = row.b_ms - row.a_ms
    shown = f"{'+' if by > 0 else ''}{digits(by)} ms"
    counts = calls(row)
    if "→" in counts:
        shown = f"{counts} calls, {shown}"
    elif counts and row.a_ms > 0 and row.b_ms < _GONE * row.a_ms:
        shown = f"no longer waited for, {shown}"
    return f"{row.edge or row.path}: {shown}"


def sides(row: MetricRow) -> str:
    """``48.0 → 33.2 ms``."""
    if row.metric == FAILED:
        return f"{digits(100 * row.a)} → {digits(100 * row.b)} %"
    return f"{digits(row.a)} → {digits(row.b)} {METRICS[row.metric].unit}".rstrip()


def guarded(row: GuardrailRow) -> str:
    """A guardrail, and what is known of it."""
    if row.metric == FAILED and row.a == row.b == 0:
        return "no failed request"
    known = " WORSE" if row.worse else "" if row.ruled_out else " (worse not ruled out)"
    return f"{named(row.metric, row.entry)} {change(row)}{known}"
