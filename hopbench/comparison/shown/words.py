"""Figures and lines that terminal and Markdown have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from analysis.figures import plural
from hopbench.comparison.document import Null, Verdict, WhyRow
from hopbench.comparison.ledger import Rate
from hopbench.comparison.sentence import interval, ratio
from hopbench.statistics.effect import fewest_pairs

_NO_MS: Final = 0.005
"""Less is shown as no change."""
_NOTHING: Final = 1e-6
"""Per cent; less is what arithmetic leaves over where nothing varies."""


def title(of: Verdict) -> str:
    """Both arms, told apart where they are of one variant."""
    if of.a == of.b:
        return f"{of.b} (arm {of.arms[1] + 1}, b) against {of.a} (arm 1, a)"
    return f"{of.b} (b) against {of.a} (a)"


def design_line(of: Verdict) -> str:
    """How it was measured."""
    parts = [
        of.scenario,
        f"{of.pairs} pairs in {of.pairs // 2} blocks of drawn order",
        f"level {percent(of.level)}",
        f"δ {percent(of.delta)}",
        f"engine {of.engine} ({of.clock} clock)",
        f"seed {of.seed}",
    ]
    if of.pairs < of.planned_pairs:
        parts[1] += f" ({of.planned_pairs} planned)"
    if of.void_rounds:
        parts.append(f"{of.void_rounds} of {of.rounds} rounds void")
    if of.repeated_blocks:
        parts.append(f"{plural(of.repeated_blocks, 'block')} measured once more")
    if of.resumed:
        parts.append("resumed")
    return " · ".join(parts)


def open_line(found: Sequence[Verdict]) -> str:
    """Why intervals have open ends."""
    others = sum(not row.primary for each in found for row in each.metrics)
    needed = fewest_pairs(round(1 - found[0].level, 12), others)
    return f"the {others} other figures are one family: it takes {needed} pairs to bound them all"


def why_line(of: Verdict) -> str:
    """What the parts add up to, beside what was not sampled."""
    parts = []
    for name, sides in (("sampled", of.mean_ms.sampled), (of.headline, of.mean_ms.headline)):
        if sides.a is not None and sides.b is not None:
            a, b = figure(sides.a, ""), figure(sides.b, "ms")
            parts.append(f"{name} {a} → {b}")
    return f"Why it changed (means: {', '.join(parts)})"


def changed(row: WhyRow) -> bool:
    """Whether there is something to show."""
    return abs(row.b_ms - row.a_ms) >= _NO_MS or " → " in calls_text(row)


def rest_line(of: Verdict, rest: int) -> str:
    """Of the parts that are not shown, which are the last ones."""
    change = sum(row.b_ms - row.a_ms for row in of.why[len(of.why) - rest :])
    return f"{plural(rest, 'further part')}: {_signed(change)}"


def change_text(row: WhyRow) -> str:
    low, high = row.change_ms
    text = _signed(row.b_ms - row.a_ms)
    if low is None or high is None or max(abs(low), abs(high)) < _NO_MS:
        return text
    return f"{text} [{_signed(low)}, {_signed(high)}]"


def calls_text(row: WhyRow) -> str:
    if row.a_calls is None or row.b_calls is None:
        return ""
    a, b = (f"{calls:.3g}" for calls in (row.a_calls, row.b_calls))
    return a if a == b else f"{a} → {b}"


def _signed(ms: float) -> str:
    return f"{ms:+.3g}" if abs(ms) >= _NO_MS else "±0"


def null_line(of: Null, ledger: Rate | None) -> str:
    """With how often such pairs have been called here."""
    text = (
        f"null: rounds of one arm against each other {ratio(of.ratio)} {interval(of.interval)}, "
        f"p {p_text(of.p)}"
    )
    if ledger is None or ledger.comparisons < 2:
        return text
    return f"{text}; called in {ledger.called} of {ledger.comparisons} comparisons here"


def figure(value: float, unit: str) -> str:
    """Three digits."""
    shown = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:#.3g}".rstrip(".")
    return f"{shown} {unit}".rstrip()


def p_text(p: float) -> str:
    return f"{p:.2g}" if p >= 0.001 else "<0.001"


def percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def least(effect: float) -> str:
    """Of a detectable one, two digits."""
    shown = 100 * effect
    if shown < _NOTHING:
        return "0 %"
    return f"{shown:.2g} %" if shown >= 0.1 else "<0.1 %"
