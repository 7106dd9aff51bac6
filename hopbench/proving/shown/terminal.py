"""A proof for a terminal, 80 columns wide or more: the sentence, then the ladder."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from hopbench.comparison.shown.terminal import doubts_of
from hopbench.proving.document import Proof, Step
from hopbench.proving.shown.words import at, facts, promised, saved, status, where

_STYLES = {"held": "bold green", "not held": "dim", "not tried": "dim"}


def terminal(of: Proof) -> RenderableType:
    line = " · ".join((of.scenario, *(f"{name} {value}" for name, value in facts(of))))
    parts: list[RenderableType] = [Text(of.sentence, style="bold"), Text(line, style="dim")]
    if of.steps:
        parts += _ladder(of.steps)
    if of.final is not None:
        variant = "" if of.final.variant is None else f" --variant {of.final.variant}"
        parts.append(Text(f"\nall that held: hopbench run {of.final.scenario}{variant}"))
    parts += doubts_of(of.doubts)
    return Group(*parts)


def _ladder(steps: tuple[Step, ...]) -> Iterator[RenderableType]:
    yield Text("\nThe ladder: what was promised, and what it saved by itself", style="bold")
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("")
    table.add_column("refactor", max_width=34)
    table.add_column("promised, ms", justify="right", no_wrap=True)
    table.add_column("saved, ms", justify="right", no_wrap=True)
    for step in steps:
        style = _STYLES[status(step)]
        cells = (status(step), step.name, promised(step), saved(step))
        table.add_row(*(Text(cell, style=style if step.held else "dim") for cell in cells))
    yield Padding(table, (0, 0, 0, 2))
    for step in steps:
        yield Padding(
            Text(f"{step.name}: {where(step)}", style="bold" if step.held else ""), (1, 0, 0, 2)
        )
        figure = f"saved at {at(step)}; " if at(step) else ""
        yield Padding(Text(f"{figure}{step.why}", style="" if step.held else "dim"), (0, 0, 0, 4))
