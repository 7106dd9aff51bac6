"""Figures and lines that terminal and Markdown have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from analysis.figures import digits, plural
from hopbench.comparison.document import (
    Document,
    GuardrailRow,
    Interval,
    MetricRow,
    Verdict,
    Verdicts,
    WhyRow,
)
from hopbench.comparison.metrics import FAILED, METRICS
from hopbench.comparison.sentence import calls, interval, ratio
from hopbench.statistics.effect import fewest_pairs

_NO_MS: Final = 0.005
"""Less is shown as no change."""


def title(of: Verdict) -> str:
    """Both arms, told apart where they are of one variant."""
    at = "" if of.rate_rps is None else f" at {of.rate_rps:.4g}/s"
    if of.a == of.b:
        return f"{of.b} (arm {of.arms[1] + 1}, b) against {of.a} (arm 1, a){at}"
    return f"{of.b} (b) against {of.a} (a){at}"


def flips_line(of: Document) -> str:
    """Which arms are better at one rate and worse at another; empty where none is."""
    flips = of.flips if isinstance(of, Verdicts) else ()
    if not flips:
        return ""
    return f"{' and '.join(flips)}: faster at one rate and slower at another"


def facts(of: Verdict) -> tuple[tuple[str, str], ...]:
    """How it was measured: names and values."""
    planned = f" ({of.planned_pairs} planned)" if of.pairs < of.planned_pairs else ""
    found = [
        ("pairs", f"{of.pairs} {_laid_out(of)}{planned}"),
        ("level", percent(of.level)),
        ("δ", percent(of.delta)),
        ("engine", f"{of.engine} ({of.clock} clock)"),
        ("seed", str(of.seed)),
    ]
    if of.void_rounds:
        found.append(("void", f"{of.void_rounds} of {of.rounds} rounds"))
    if of.repeated_blocks:
        found.append(("measured once more", plural(of.repeated_blocks, "block")))
    if of.resumed:
        found.append(("resumed", "yes"))
    if of.old is not None and of.old.response_p50_ms is not None:
        then = f"P50 {figure(of.old.response_p50_ms, 'ms')} then, in another sitting: not judged"
        found.append((of.old.run_dir, then))
    return tuple(found)


def _laid_out(of: Verdict) -> str:
    if of.design == "duet":
        return "restarts, in slices of drawn order"
    return f"in {of.pairs // 2} blocks of drawn order"


def design_line(of: Verdict) -> str:
    """The same as one line."""
    return " · ".join((of.scenario, *(f"{name} {value}" for name, value in facts(of))))


def open_line(found: Sequence[Verdict]) -> str:
    """Why intervals have open ends."""
    others = sum(not row.primary for each in found for row in each.metrics)
    needed = fewest_pairs(round(1 - found[0].level, 12), others, found[0].pairs)
    return f"the {others} other figures are one family: it takes {needed} pairs to bound them all"


def why_line(of: Verdict) -> str:
    """What the parts add up to, beside what was not sampled."""
    parts = []
    for name, sides in (("sampled", of.mean_ms.sampled), (of.headline, of.mean_ms.headline)):
        if sides.a is not None and sides.b is not None:
            a, b = figure(sides.a, ""), figure(sides.b, "ms")
            parts.append(f"{name} {a} → {b}")
    return f"Why it changed (means: {', '.join(parts)})"


def has_changed(row: WhyRow) -> bool:
    """Whether there is something to show."""
    return abs(row.b_ms - row.a_ms) >= _NO_MS or "→" in calls(row)


def rest_line(rest: Sequence[WhyRow]) -> str:
    """Of the parts that are not shown."""
    change = sum(row.b_ms - row.a_ms for row in rest)
    return f"{plural(len(rest), 'further part')}: {_signed(change)}"


def change_text(row: WhyRow) -> str:
    low, high = row.change_ms
    text = _signed(row.b_ms - row.a_ms)
    if low is None or high is None or max(abs(low), abs(high)) < _NO_MS:
        return text
    return f"{text} [{_signed(low)}, {_signed(high)}]"


def _signed(ms: float) -> str:
    return f"{'+' if ms > 0 else ''}{digits(ms)}" if abs(ms) >= _NO_MS else "±0"


def as_sentence(line: str) -> str:
    return f"{line[:1].upper()}{line[1:]}."


def observer_line(of: Verdict) -> str:
    """What tracing costs; empty where nothing is known of it."""
    parts = []
    tax = of.direct_tax_ms
    if tax.a is not None and tax.b is not None:
        parts.append(f"a sampled request takes {_signed(tax.a)} ms (a) and {_signed(tax.b)} ms (b)")
    if (spill := of.spillover_ms) is not None:
        a, b = (
            f"{_signed(value)} ms {_signed_interval(ends)}"
            for value, ends in ((spill.a, spill.a_interval), (spill.b, spill.b_interval))
        )
        parts.append(f"the others {a} (a) and {b} (b), for being near it")
    return f"tracing: {', '.join(parts)}" if parts else ""


def _signed_interval(ends: Interval) -> str:
    low, high = ends
    lower = "-∞" if low is None else _signed(low)
    return f"[{lower}, {'∞' if high is None else _signed(high)}]"


def null_line(verdict: Verdict) -> str:
    """With how often such pairs have been called here; empty where there are none."""
    of, ledger = verdict.null, verdict.ledger
    if of is None:
        return ""
    duet = verdict.design == "duet"
    what = "sittings of equals" if duet else "rounds of one arm against each other"
    text = f"null: {what} {ratio(of.ratio)} {interval(of.interval)}, p {p_text(of.p)}"
    if ledger is None or ledger.comparisons < 2:
        return text
    return f"{text}; called in {ledger.called} of {ledger.comparisons} comparisons here"


def figure(value: float, unit: str) -> str:
    """Three digits."""
    return f"{digits(value)} {unit}".rstrip()


def value(row: MetricRow | GuardrailRow, of: float) -> str:
    """``a`` or ``b`` of a row."""
    return figure(100 * of, "%") if row.metric == FAILED else figure(of, METRICS[row.metric].unit)


def short(row: MetricRow) -> str:
    return "failed" if row.metric == FAILED else METRICS[row.metric].short


def p_text(p: float) -> str:
    return f"{p:.2g}" if p >= 0.001 else "<0.001"


def percent(share: float) -> str:
    return f"{100 * share:.3g} %"
