"""Where a design saturates, for a terminal: the sentence, then the rates that were tried."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from analysis.figures import digits, ms
from hopbench.saturation.document import Saturation
from hopbench.saturation.search import Outcome
from hopbench.saturation.step import Step

_STYLES = {
    Outcome.HELD: "green",
    Outcome.SATURATED: "bold red",
    Outcome.GAVE_OUT: "yellow",
    Outcome.VOID: "dim",
}


def terminal(of: Saturation) -> RenderableType:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for name in ("offered", "answered", "P95"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("")
    for step in sorted(of.steps, key=lambda each: each.offered_rps):
        table.add_row(*_cells(step))
    line = f"{of.scenario}, {of.variant} · engine {of.engine} ({of.clock} clock)"
    if of.objective is not None:
        line += f" · objective {of.objective}"
    return Group(
        Text(of.sentence, style="bold"),
        Text(f"{line}\n", style="dim"),
        Padding(table, (0, 0, 1, 2)),
    )


def _cells(step: Step) -> tuple[Text, ...]:
    word = step.outcome.value.replace("_", " ")
    why = f": {step.why}" if step.why else ""
    answered = "–" if step.achieved_rps is None else f"{digits(step.achieved_rps)}/s"
    return (
        Text(f"{digits(step.offered_rps)}/s"),
        Text(answered),
        Text(ms(step.response_p95_ms)),
        Text(f"{word}{why}", style=_STYLES[step.outcome]),
    )
