"""``hopbench doctor``: whether this machine can measure."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from hopbench.exits import Exit
from hopbench.front import options
from hopbench.front.doctor import Check, doctor, document, healthy
from hopbench.front.output import Output


def command(*, json: options.Json = None) -> Exit:
    """Look at cores, timers, memory, ports, Docker, Kafka and Jaeger: ok, or what to do.

    Exit 1 where something that measuring needs is not well.
    """
    output = Output(json)
    with output.working("looking"):
        checks = doctor()
    output.show(table(checks))
    output.show("")
    output.show(verdict(checks))
    output.document(document(checks))
    return Exit.DONE if healthy(checks) else Exit.FAILED


def table(checks: Sequence[Check]) -> Table:
    """A row for each check, and below what is missing what to do about it."""
    shown = Table.grid(padding=(0, 2, 0, 0))
    shown.add_column(no_wrap=True)
    shown.add_column(no_wrap=True)
    shown.add_column()
    for check in checks:
        mark = Text("ok", "green") if check.ok else _missing(check)
        found = Text(check.found)
        if not check.ok and check.advice:
            found.append(f"\n→ {check.advice}", "dim")
        shown.add_row(mark, check.name, found)
    return shown


def _missing(check: Check) -> Text:
    return Text("!!", "bold red") if check.needed else Text("–", "yellow")


def verdict(checks: Sequence[Check]) -> str:
    bad = [check.name for check in checks if check.needed and not check.ok]
    if bad:
        return f"Not fit to measure as it is: {', '.join(bad)}."
    return "Fit to measure. What is marked – is needed by some commands only, or limits them."
