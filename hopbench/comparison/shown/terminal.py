"""A verdict for a terminal, 80 columns wide or more: the sentence first, then what it rests on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from analysis.figures import least, plural
from hopbench.comparison.document import (
    Document,
    GuardrailRow,
    MetricRow,
    RaisedDoubt,
    Verdict,
    WhyRow,
    comparisons,
    doubts,
)
from hopbench.comparison.sentence import calls, ends, guarded, ratio, word
from hopbench.comparison.shown.forest import BAND, scale
from hopbench.comparison.shown.words import (
    change_text,
    design_line,
    figure,
    flips_line,
    has_changed,
    null_line,
    observer_line,
    open_line,
    p_text,
    percent,
    rest_line,
    short,
    title,
    value,
    why_line,
)
from hopbench.statistics.effect import Outcome
from services.doubts import Code

WHY_LINES = 12
_PLOT = 36
_STYLES = {
    Outcome.FASTER: "bold green",
    Outcome.SLOWER: "bold red",
    Outcome.EQUIVALENT: "bold cyan",
    Outcome.INCONCLUSIVE: "bold yellow",
    Outcome.VOID: "bold red",
}


def terminal(document: Document) -> RenderableType:
    """The sentences of all arms come first."""
    found = comparisons(document)
    parts: list[RenderableType] = [
        Text(each.sentence, style=_STYLES[each.verdict]) for each in found
    ]
    if line := flips_line(document):
        parts.append(Text(line, style="bold yellow"))
    parts.append(Text(design_line(found[0]), style="dim"))
    for each in found:
        parts += _comparison(each)
    if any(None in row.interval_adjusted for each in found for row in each.metrics):
        parts.append(_indented(Text(open_line(found), style="dim")))
    parts += doubts_of(doubts(found))
    return Group(*parts)


def _comparison(of: Verdict) -> Iterator[RenderableType]:
    yield _heading(title(of))
    if not of.metrics:
        yield _indented(Text("no pair of rounds is left to compare"))
        return
    yield _indented(_forest(of))
    yield _indented(_metrics(of))
    yield _indented(_guardrails(of.guardrails))
    if of.why:
        yield _heading(why_line(of))
        yield _indented(_why(of.by_edge, "edge, or entry itself"))
        if any(map(has_changed, of.by_path)):
            yield _indented(_why(of.by_path, "by call path, where there are several"))
    for line in (observer_line(of), null_line(of)):
        if line:
            yield _indented(Text(line, style="dim"))


def _forest(of: Verdict) -> RenderableType:
    on = scale(of.metrics, _PLOT, of.delta)
    rows = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, show_header=False)
    rows.add_column(overflow="ellipsis", no_wrap=True, max_width=18)
    rows.add_column(no_wrap=True, width=_PLOT)
    rows.add_column(no_wrap=True)
    rows.add_row(Text("b/a", style="dim"), Text(on.axis(), style="dim"), Text(""))
    for row in of.metrics:
        if row.ratio is None:
            continue
        style = _STYLES[row.verdict] if row.primary else ""
        rows.add_row(
            Text(_name(of, row), style="bold" if row.primary else ""),
            Text(on.bar(row.ratio, row.interval_adjusted), style=style),
            Text(f"{ratio(row.ratio)}, {word(row.metric, row.verdict)}", style=style),
        )
        if row.primary:
            dots = on.dots(pair.b / pair.a for pair in row.pairs)
            rows.add_row(Text("  each pair", style="dim"), Text(dots), Text(f"{of.pairs} pairs"))
    if of.delta:
        within = f"{BAND} within {percent(of.delta)}: equivalent"
        rows.add_row(Text(""), Text(within, style="dim"), Text(""))
    return rows


def _metrics(of: Verdict) -> RenderableType:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("metric", overflow="ellipsis", no_wrap=True, max_width=20)
    for name in ("a", "b", "interval", "p (Holm)", "mde"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in of.metrics:
        table.add_row(
            Text(_name(of, row), style="bold" if row.primary else ""),
            Text(value(row, row.a)),
            Text(value(row, row.b)),
            Text(ends(row)),
            Text(p_text(row.p_adjusted)),
            Text("–" if row.mde is None else least(row.mde)),
        )
    return table


def _why(rows: Sequence[WhyRow], heading: str) -> RenderableType:
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    table.add_column(heading, max_width=40)
    for name in ("a, ms", "b, ms", "b - a", "calls"):
        table.add_column(name, justify="right", no_wrap=True)
    shown = [row for row in rows if has_changed(row)][:WHY_LINES]
    for row in shown:
        cells = (figure(row.a_ms, ""), figure(row.b_ms, ""), change_text(row), calls(row))
        table.add_row(Text(row.edge or row.path or ""), *map(Text, cells))
    rest = [row for row in rows if row not in shown]
    return Group(table, Text(rest_line(rest), style="dim")) if rest else table


def _guardrails(rows: Sequence[GuardrailRow]) -> RenderableType:
    """A line: who looks for what got worse finds it, or that it was looked at."""
    text = Text("guardrails: ")
    for i, row in enumerate(rows):
        text.append(", " if i else "")
        text.append(guarded(row), style="bold red" if row.worse else "")
    return text


def _name(of: Verdict, row: MetricRow) -> str:
    several = len({each.entry for each in of.metrics if each.entry is not None}) > 1
    return f"{short(row)} {row.entry}" if several and row.entry is not None else short(row)


def doubts_of(raised: Sequence[RaisedDoubt]) -> Iterator[RenderableType]:
    if not raised:
        return
    yield _heading("Doubts")
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column()
    for doubt in raised:
        style = "red" if doubt.voids else "yellow"
        often = "" if doubt.rounds is None else f"  ({plural(doubt.rounds, 'round')})"
        table.add_row(Text(doubt.code, style=style), Text(f"{doubt.text}{often}"))
        table.add_row(Text(""), Text(f"→ {Code(doubt.code).mend}", style="dim"))
    yield _indented(table)


def _heading(words: str) -> Text:
    return Text(f"\n{words}", style="bold")


def _indented(what: RenderableType) -> Padding:
    return Padding(what, (0, 0, 0, 2))
