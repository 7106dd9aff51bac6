"""A proof for a pull request's comment: the sentence, the ladder, doubts folded away."""

from __future__ import annotations

from collections.abc import Iterator

from hopbench.comparison.shown.markdown import doubts_of, safe
from hopbench.proving.document import Proof
from hopbench.proving.shown.words import at, facts, promised, saved, status, where


def markdown(of: Proof) -> str:
    return "\n".join(_lines(of)).rstrip() + "\n"


def _lines(of: Proof) -> Iterator[str]:
    yield f"**{safe(of.sentence)}**"
    yield ""
    if of.steps:
        yield "| refactor | finding | promised, ms | saved, ms | at | | |"
        yield "|---|---|--:|--:|---|---|---|"
    for step in of.steps:
        cells = (
            step.name,
            where(step),
            promised(step),
            saved(step),
            at(step),
            status(step),
            step.why,
        )
        named, *rest = map(safe, cells)
        yield f"| {' | '.join((f'**{named}**' if step.held else named, *rest))} |"
    yield ""
    if of.final is not None:
        variant = "" if of.final.variant is None else f" --variant {of.final.variant}"
        yield f"All that held: `hopbench run {of.final.scenario}{variant}`"
        yield ""
    line = " · ".join((of.scenario, *(f"{name} {value}" for name, value in facts(of))))
    yield f"<sub>{safe(line)}</sub>"
    yield ""
    yield from doubts_of(of.doubts)
