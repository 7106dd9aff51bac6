"""``hopbench critical-path``: where the time of each trace went, to the nanosecond."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, cast

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from analysis.arrays.quantiles import NS_PER_MS
from analysis.document import critical_path_document
from analysis.figures import ms, plural, share
from analysis.rows.roots import RootRow, root_rows
from analysis.traces.critical_path import PRESETS, Preset
from hopbench.commands.analyze import (
    Limit,
    LookBack,
    Service,
    Skew,
    Traces,
    Variant,
    asked,
    taken,
)
from hopbench.exits import Exit
from hopbench.front import options
from hopbench.front.output import Output
from hopbench.front.settings import one_of
from services.codec import plain

_MOST_TRACES = 5
_MOST_ROWS = 12


def command(
    traces: Traces,
    *,
    preset: Annotated[
        str, typer.Option("--preset", metavar="|".join(PRESETS), help="Whose rules.")
    ] = "reference",
    variant: Variant = None,
    skew: Skew = False,
    service: Service = None,
    look_back: LookBack = None,
    limit: Limit = None,
    json: options.Json = None,
    quiet: options.Quiet = False,
) -> Exit:
    """The critical path of every trace: its sections in time, and exclusive time by operation."""
    output = Output(json, quiet)
    rules = cast(Preset, one_of("--preset", preset, tuple(PRESETS)))
    with output.working("reading"):
        wanted = asked(traces, service, look_back, limit)
        read, _ = taken(traces, variant=variant, skew=skew, wanted=wanted)
    for left in read.skipped:
        output.note(f"skipped: {left.file}: {left.reason}")
    roots = root_rows(read.spans, rules)
    output.show(_shown(roots, rules))
    output.document(plain(critical_path_document(rules, roots)))
    return Exit.DONE


def _shown(roots: Sequence[RootRow], preset: Preset) -> RenderableType:
    """For people: the longest traces, and where their time went."""
    head = Text(f"{plural(len(roots), 'root')}, preset {preset}", style="bold")
    parts: list[RenderableType] = [head]
    for root in sorted(roots, key=lambda r: -r.root_duration_ns)[:_MOST_TRACES]:
        whole = root.root_duration_ns
        parts.append(Text(f"\n{root.trace_id}  {ms(whole / NS_PER_MS)}", style="bold"))
        table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
        table.add_column(justify="right", no_wrap=True)
        table.add_column(justify="right", no_wrap=True)
        table.add_column(overflow="fold")
        rows = sorted(root.exclusive_ns.items(), key=lambda item: (-item[1], item[0]))
        for name, own in rows[:_MOST_ROWS]:
            table.add_row(ms(own / NS_PER_MS), share(own / whole if whole else 0.0), Text(name))
        parts.append(table)
        if len(rows) > _MOST_ROWS:
            parts.append(Text(f"and {plural(len(rows) - _MOST_ROWS, 'operation')} more", "dim"))
    if len(roots) > _MOST_TRACES:
        parts.append(
            Text(f"\nand {plural(len(roots) - _MOST_TRACES, 'root')} more, in --json", "dim")
        )
    return Group(*parts)
