"""The verdict in one sentence: what changed by how much, what it is called, and what got worse."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from hopbench.comparison.document import GuardrailRow, Interval, MetricRow
from hopbench.comparison.metrics import FAILED, METRICS
from hopbench.runs.design import Design
from hopbench.statistics.effect import Outcome

_COUNTED: Final = {Outcome.FASTER: "less", Outcome.SLOWER: "more"}
"""Of what is no time."""


def word(metric: str, outcome: Outcome) -> str:
    """Faster and slower are said of times."""
    return outcome.value if METRICS[metric].timed else _COUNTED.get(outcome, outcome.value)


def named(metric: str, entry: str | None) -> str:
    text = "failed requests" if metric == FAILED else METRICS[metric].text
    return text if entry is None else f"{entry} {text}"


def arm_name(design: Design, arm: int) -> str:
    """Its variant, and where several arms are of that one, its number."""
    name = design.arms[arm]
    return name if design.arms.count(name) == 1 else f"{name} ({arm + 1})"


def sentence(
    design: Design,
    arm: int,
    outcome: Outcome,
    metrics: Sequence[MetricRow],
    guardrails: Sequence[GuardrailRow],
) -> str:
    name = arm_name(design, arm)
    first = next((row for row in metrics if row.primary), None)
    if first is None:
        return f"{name}: void; {named(design.metric, None)} is not known of any pair."
    what = named(first.metric, first.entry)
    if first.entry is None and METRICS[first.metric].by_entry:
        what = f"{what} of all entries"
    figure = f"{what} {ratio(first.ratio)} {interval(first.interval_adjusted)}"
    if outcome is Outcome.VOID:
        return f"{name}: {figure}, but no verdict (void)."
    told = f"{name}: {figure}, {word(first.metric, outcome)}"
    if outcome is Outcome.INCONCLUSIVE and first.mde is not None:
        told += f" (a change of {100 * first.mde:.2g} % would have been called)"
    worse = [f"{named(g.metric, g.entry)} {change(g)}" for g in guardrails if g.worse]
    if not worse:
        return f"{told}; nothing got worse." if guardrails else f"{told}."
    joint = "but" if outcome is Outcome.FASTER else "and"
    return f"{told}, {joint} {', '.join(worse)}."


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
        shown = f"{100 * (row.ratio - 1):+.2g} %"
        return shown if abs(row.ratio - 1) > 5e-4 else "±0 %"
    assert row.difference is not None
    return f"{100 * row.difference:+.2g} points" if row.difference else "±0 points"
