"""How far the rounds are, on standard error: a bar where that is a terminal, else a line each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from hopbench.runs.plan import RunPlan, Turn
from hopbench.runs.rounds import RoundProgress

PHASES: Final = ("start", "warmup", "measured", "drain", "read")
_OTHER_S: Final = {"start": 4.0, "drain": 2.0, "read": 1.0}
"""Rough lengths of the phases that the load does not set."""


def _lines(count: int, console: Console) -> RoundProgress:
    seen: set[int] = set()

    def tell(turn: Turn, phase: str, share: float) -> None:
        if turn.round not in seen:
            seen.add(turn.round)
            console.print(f"round {len(seen)} of {count}: {turn.variant}", markup=False)

    return tell


@contextmanager
def rounds(plan: RunPlan, count: int, console: Console) -> Iterator[RoundProgress]:
    """One bar over ``count`` rounds, each worth the seconds that its phases take."""
    if not console.is_terminal:
        yield _lines(count, console)
        return
    load = plan.scenario.load
    lengths = {
        **_OTHER_S,
        "warmup": load.warmup_ns / 1e9,
        "measured": load.duration_ns / 1e9,
    }
    each = sum(lengths.values())
    before = {p: sum(lengths[q] for q in PHASES[:i]) for i, p in enumerate(PHASES)}
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        refresh_per_second=4,  # drawing takes CPU time from what is measured
    ) as bar:
        task = bar.add_task("starting", total=each * count)
        seen: dict[int, int] = {}

        def show(turn: Turn, phase: str, share: float) -> None:
            ended = seen.setdefault(turn.round, len(seen))
            at = before.get(phase, 0.0) + lengths.get(phase, 0.0) * share
            bar.update(
                task,
                completed=ended * each + at,
                description=f"round {ended + 1}/{count} {turn.variant}: {phase}",
            )

        yield show
