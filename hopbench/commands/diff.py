"""``hopbench diff``: what one variant of a scenario changes against another."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hopbench.exits import Exit
from hopbench.front import options
from hopbench.front.output import Output
from services.scenario.capacity import Shape
from services.scenario.file.difference import Difference, EdgeSide, StepsChange, difference
from services.scenario.file.parser import load
from services.scenario.refactors import BASELINE, apply

_STYLES = {"+": "green", "-": "red"}


def report(a: str, b: str, found: Difference) -> RenderableType:
    """Figures side by side, then the edges that differ, then the steps."""
    if not (found.edges or found.steps or found.others):
        return Text(f"{a} and {b} do the same")
    parts: list[RenderableType] = [_figures(a, b, found)]
    if found.edges:
        parts += ["", _edges(a, b, found)]
    if found.others:
        parts += ["", *map(Text, found.others)]
    for change in found.steps:
        parts += ["", _steps(change)]
    return Group(*parts)


def _figures(a: str, b: str, found: Difference) -> Table:
    shown = _table("", a, b)
    before, after = found.before, found.after
    for name, old, new in (
        ("calls per request", f"{before.calls_mean:.2f}", f"{after.calls_mean:.2f}"),
        ("at worst", str(before.calls_worst), str(after.calls_worst)),
        ("synchronous hops deep", str(before.depth), str(after.depth)),
        ("calls at once", str(before.fan_out), str(after.fan_out)),
        ("hops per second", _hops(before), _hops(after)),
    ):
        shown.add_row(name, old, new, style=None if old != new else "dim")
    return shown


def _hops(shape: Shape) -> str:
    return "as answered" if shape.hops_per_s is None else f"{shape.hops_per_s:.0f}"


def _edges(a: str, b: str, found: Difference) -> Table:
    shown = _table("edge", a, b)
    for change in found.edges:
        shown.add_row(str(change), _side(change.before), _side(change.after))
    return shown


def _table(first: str, a: str, b: str) -> Table:
    shown = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    shown.add_column(first, no_wrap=True)
    shown.add_column(a)
    shown.add_column(b)
    return shown


def _side(side: EdgeSide | None) -> str:
    return "none" if side is None else f"{side.calls_per_request:.2f}/request: {side.how}"


def _steps(change: StepsChange) -> Text:
    shown = Text(f"{change.service}.{change.operation}", style="bold")
    for line in change.lines:
        shown.append(f"\n{line}", style=_STYLES.get(line[:1], "dim"))
    return shown


def command(
    scenario: options.Scenario,
    a: Annotated[str, typer.Argument(help="A variant, or baseline.")],
    b: Annotated[str | None, typer.Argument(help="Another; none: A against baseline.")] = None,
    *,
    json: options.Json = None,
) -> Exit:
    """What a variant changes: calls, edges, steps."""
    base = load(scenario).scenario
    before, after = (BASELINE, a) if b is None else (a, b)
    found = difference(apply(base, before), apply(base, after))
    output = Output(json)
    output.show(report(before, after, found))
    output.document(
        {
            "schema": "hopbench.scenario-diff/1",
            "scenario": base.name,
            "a": before,
            "b": after,
            **asdict(found),
        }
    )
    return Exit.DONE
