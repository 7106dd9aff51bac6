"""A verdict for a pull request's comment: the sentence, one table an arm, doubts folded away."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from analysis.figures import least, plural
from hopbench.comparison.document import Document, RaisedDoubt, Verdict, WhyRow, comparisons, doubts
from hopbench.comparison.sentence import calls, changed, ends, guarded, named, word
from hopbench.comparison.shown.words import (
    as_sentence,
    change_text,
    design_line,
    figure,
    flips_line,
    has_changed,
    null_line,
    observer_line,
    p_text,
    title,
    value,
    why_line,
)
from services.doubts import Code


def markdown(document: Document) -> str:
    found = comparisons(document)
    lines = [line for each in found for line in (f"**{safe(each.sentence)}**", "")]
    if line := flips_line(document):
        lines += [f"**{safe(line)}.**", ""]
    for each in found:
        lines += _comparison(each)
    lines += [f"<sub>{safe(design_line(found[0]))}</sub>", ""]
    lines += doubts_of(doubts(found))
    return "\n".join(lines).rstrip() + "\n"


def _comparison(of: Verdict) -> Iterator[str]:
    if not of.metrics:
        return
    yield f"{safe(title(of))}:"
    yield ""
    yield "| metric | a | b | b/a | interval | p (Holm) | mde | |"
    yield "|---|--:|--:|--:|--:|--:|--:|---|"
    for row in of.metrics:
        name = safe(named(row.metric, row.entry))
        cells = (
            f"**{name}**" if row.primary else name,
            value(row, row.a),
            value(row, row.b),
            changed(row),
            ends(row),
            p_text(row.p_adjusted),
            "–" if row.mde is None else least(row.mde),
            word(row.metric, row.verdict),
        )
        yield f"| {' | '.join(cells)} |"
    yield ""
    yield f"Guardrails: {safe(', '.join(map(guarded, of.guardrails)))}."
    if of.why:
        yield ""
        yield f"{why_line(of)}:"
        yield ""
        yield from _why(of.by_edge, "edge, or entry itself")
        if any(map(has_changed, of.by_path)):
            yield from _why(of.by_path, "by call path, where there are several")
    for line in (observer_line(of), null_line(of)):
        if line:
            yield as_sentence(safe(line))
    yield ""


def _why(rows: Sequence[WhyRow], heading: str) -> Iterator[str]:
    yield f"| {heading} | a | b | b - a, ms | calls |"
    yield "|---|--:|--:|--:|--:|"
    for part in rows:
        sides = f"{figure(part.a_ms, 'ms')} | {figure(part.b_ms, 'ms')}"
        name = safe(part.edge or part.path or "")
        yield f"| {name} | {sides} | {change_text(part)} | {calls(part)} |"
    yield ""


def doubts_of(raised: Sequence[RaisedDoubt]) -> Iterator[str]:
    if not raised:
        return
    yield f"<details><summary>{plural(len(raised), 'doubt')}</summary>"
    yield ""
    for doubt in raised:
        often = "" if doubt.rounds is None else f" ({plural(doubt.rounds, 'round')})"
        yield f"- `{doubt.code}`: {safe(doubt.text)}{often}. {Code(doubt.code).mend}"
    yield ""
    yield "</details>"


def safe(text: str) -> str:
    """As text: no cell ends early, and nothing becomes a tag."""
    return text.replace("|", "\\|").replace("<", "&lt;")
