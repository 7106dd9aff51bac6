"""The report for a terminal: call tree, findings with advice, variants side by side, doubts."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import groupby

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from analysis.figures import count, ms, plural, share
from analysis.report.calls import EdgeView, Node, ServiceView, call_tree
from analysis.report.view import (
    LOWEST,
    DoubtView,
    FindingView,
    VariantView,
    View,
    slow_replica,
    times,
)
from services.codec import UNSET
from services.scenario.refactors import BASELINE

TREE_LINES = 60
"""Of all call trees together; a scenario of a thousand services has more."""
ENTRY_LINES = 12
FINDINGS = 20
_LEFT_OUT = ("run", "host", "code")
"""Of the facts: a report is read elsewhere, and later."""

_PROTOCOL_STYLE = {"http": "cyan", "grpc": "magenta", "kafka": "yellow"}


def terminal(of: View) -> RenderableType:
    """The report, for a console."""
    parts: list[RenderableType] = [_title(of)]
    base = of.base
    if base is None:
        parts.append(Text("No round was measured: there is nothing to report.", style="bold"))
    else:
        parts.append(_heading(f"Who calls whom ({base.name})"))
        parts.append(_indented(_tree(base)))
        for variant in of.variants:
            parts.append(_heading(f"Findings in {variant.name}"))
            parts.append(_indented(_findings(variant)))
        if len(of.variants) > 1:
            parts.append(_heading("Variants side by side"))
        else:
            parts.append(_heading("Measured"))
        parts.append(_indented(_variants(of)))
        unmet = _expectations(of)
        if unmet is not None:
            parts.append(_indented(unmet))
    if of.doubts:
        parts.append(_heading("Doubts"))
        parts.append(_indented(_doubts(of.doubts)))
    return Group(*parts)


def _title(of: View) -> Text:
    text = Text()
    text.append(of.title, style="bold")
    for name, value in of.facts:
        if name not in _LEFT_OUT:
            text.append(f"  {name} ", style="dim").append(value)
    return text


def _heading(words: str) -> Text:
    return Text(f"\n{words}", style="bold")


def _indented(what: RenderableType) -> Padding:
    return Padding(what, (0, 0, 0, 2))


def _tree(variant: VariantView) -> RenderableType:
    roots = call_tree(variant.edges, {row.entry: row.share for row in variant.entries})
    queues = {row.service: row for row in variant.services if row.queued}
    trees: list[RenderableType] = [
        _queued(Text(row.entry, style="bold"), queues[service])
        for row in variant.entries
        if (service := row.entry.partition(".")[0]) in queues
        and row.entry not in {_name(root) for root in roots}
    ]
    if not roots:
        return Group(*trees, Text("no call between services was traced", style="dim"))
    drawn = _drawn(roots)
    for root in roots:
        if id(root) not in drawn:
            continue
        title = Text(_name(root), style="bold")
        if root.times is not None and root.times < 1:
            title.append(f"  {share(root.times)} of the requests", style="not bold dim")
        if root.service in queues:
            _queued(title, queues[root.service])
        tree = Tree(title, guide_style="dim")
        _grow(tree, root, drawn)
        trees.append(tree)
    if (left := sum(id(root) not in drawn for root in roots)) > 0:
        trees.append(Text(f"… and {plural(left, 'more tree')} in the report", style="dim"))
    return Group(*trees)


def _queued(title: Text, row: ServiceView) -> Text:
    words = f"  queued {ms(row.queue_p50)}, handled in {ms(row.server_p50)}"
    return title.append(words, style="not bold")


def _drawn(roots: Sequence[Node]) -> frozenset[int]:
    """By ``id``: the nodes nearest to the roots, as many as a person reads."""
    found: set[int] = set()
    waiting = deque(roots)
    while waiting and len(found) < TREE_LINES:
        node = waiting.popleft()
        found.add(id(node))
        waiting.extend(node.children)
    return frozenset(found)


def _grow(tree: Tree, node: Node, drawn: frozenset[int]) -> None:
    hidden = [child for child in node.children if id(child) not in drawn]
    for child in node.children:
        if id(child) in drawn:
            _grow(tree.add(_branch(child)), child, drawn)
    if hidden:
        left = sum(map(_size, hidden))
        tree.add(Text(f"… and {plural(left, 'more call')}", style="dim"))


def _size(node: Node) -> int:
    return 1 + sum(map(_size, node.children))


def _name(node: Node) -> str:
    return f"{node.service}.{node.operation}" if node.operation else node.service


def _branch(node: Node) -> Text:
    edge = node.edge
    text = Text(_name(node))
    if edge is None:
        return text
    text.append(f"  {edge.carrier}", style=_PROTOCOL_STYLE.get(edge.protocol, ""))
    times = edge.calls_per_request if node.times is None else node.times
    text.append(f"  {count(round(times, 2))}×", style="bold red" if times >= 5 else "bold")
    text.append(f"  {_times(edge)}")
    if edge.errors:
        text.append(f"  {plural(edge.errors, 'error')}", style="red")
    if edge.retries:
        text.append(f"  {plural(edge.retries, 'retry', 'retries')}", style="red")
    if edge.hedges:
        text.append(f"  {plural(edge.hedges, 'hedge')}", style="yellow")
    if node.repeated:
        text.append("  (calls drawn above)", style="dim")
    if edge.slow is not None:
        text.append(f"\n{slow_replica(edge.slow)}", style="yellow")
    return text


def _times(edge: EdgeView) -> str:
    words = f"P50 {ms(edge.client_p50)}"
    if edge.tax_p50 is not None:
        words += f", {ms(edge.tax_p50)} of it transport"
    if edge.queued:
        words += f", queued {ms(edge.queue_p50)}"
    if edge.tax_p50 is None and edge.server_p50 is not None:
        words += f", handled in {ms(edge.server_p50)}"
    return words


def _findings(variant: VariantView) -> RenderableType:
    rows: list[RenderableType] = [
        advised(finding) for finding in variant.findings if finding.identity not in variant.kept
    ]
    for word, style, findings in (
        ("gone", "green", variant.gone),
        ("still", "yellow", [f for f in variant.findings if f.identity in variant.kept]),
    ):
        for finding in findings:
            row = Text(f"{word} ".rjust(6), style=style).append(finding.kind, style=f"bold {style}")
            row.append(f"  {finding.place}", style="bold")
            if word == "still":
                row.append(f"  {finding.cost}", style="dim")
            rows.append(row)
    if (left := len(rows) - FINDINGS) > 0:
        del rows[FINDINGS:]
        rows.append(Text(f"… and {plural(left, 'cheaper one')} in the report", style="dim"))
    if not rows:
        rows.append(Text(variant.nothing, style="yellow" if variant.unmeasured else "green"))
    if variant.minor:
        rows.append(Text(f"and {plural(len(variant.minor), 'minor one')} in the report", "dim"))
    return Group(*rows)


def advised(finding: FindingView) -> RenderableType:
    """A finding with what it costs, what it says, and the refactor that it proposes."""
    head = Text(finding.kind, style="bold red")
    head.append(f"  {finding.place}", style="bold")
    head.append(f"  costs {finding.cost} of the critical path", style="not bold dim")
    rows: list[tuple[Text | str, Text]] = [(Text("●", style="red"), head)]
    if finding.text:
        rows.append(("", Text(finding.text)))
    if finding.advice:
        advice = Text("try ").append(finding.advice, style="green")
        if finding.saves:
            advice.append(f"  {finding.saves}", style="dim")
        rows.append(("", advice))
    shown = next((cited.url for cited in finding.evidence if cited.url is not UNSET), None)
    if shown is not None:
        rows.append(("", Text("see ", style="dim").append(shown, style=f"dim link {shown}")))
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def _variants(of: View) -> RenderableType:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("variant", style="bold", no_wrap=True)
    rounds_differ = len({(v.rounds, v.void_rounds) for v in of.variants}) > 1
    fates = [name for name in ("failed", "dropped") if any(getattr(v, name) for v in of.variants)]
    for name in (
        *(["valid"] if rounds_differ else []),
        *("P50", "", "P95", "P99", "calls/req", "findings"),
        *fates,
    ):
        table.add_column(name, justify="right", no_wrap=True)
    for v in of.variants:
        rounds = f"{v.valid} of {v.rounds}"
        p50, p95, p99 = times(v, "*")
        lost = [(count(getattr(v, name)), getattr(v, name)) for name in fates]
        table.add_row(
            v.name,
            *([Text(rounds, style="yellow" if v.void_rounds else "")] if rounds_differ else []),
            p50,
            Text("" if v.name == BASELINE else v.against_baseline, style="dim"),
            p95,
            p99,
            count(None if v.calls_per_request is None else round(v.calls_per_request, 2)),
            Text(v.found, style="red" if v.findings else "" if v.unmeasured else "green"),
            *(Text(shown, style="red" if number else "") for shown, number in lost),
        )
        for row in v.entries[:ENTRY_LINES] if len(v.entries) > 1 else ():
            p50, p95, p99 = times(row, "*")
            table.add_row(
                Text(f" {row.entry}", style="not bold dim"),
                *([""] if rounds_differ else []),
                p50,
                Text("" if v.name == BASELINE else row.against_baseline, style="dim"),
                p95,
                p99,
                style="dim",
            )
        if (left := len(v.entries) - ENTRY_LINES) > 0:
            table.add_row(Text(f" … and {left} more in the report", style="not bold dim"))
    note = (
        f"response times of {of.headline} requests; {of.rounds}: figures, not a "
        "verdict; – means not identifiable from this many requests"
        + (f"; * {LOWEST}" if of.marked else "")
    )
    notes = (Text(said, style="dim") for said in (note, *of.notes))
    return Group(table, *_foretold(of), *notes)


def _foretold(of: View) -> list[Text]:
    return [
        Text(
            f"{v.name} was promised to save {v.promised} where its findings show; "
            f"it saved {ms(v.saved)} at the P50 of all requests"
        )
        for v in of.variants
        if v.promised and v.name != BASELINE
    ]


def _expectations(of: View) -> RenderableType | None:
    lines = Text()
    met = total = 0
    for v in of.variants:
        for expectation in v.expectations:
            total += 1
            met += expectation.met is True
            if expectation.met is False:
                where = f"{v.name}: {expectation.kind} {expectation.where}"
                lines.append(f"expected and not found  {where}\n", style="red")
        for place in v.unexpected:
            lines.append(f"found and not expected  {v.name}: {place}\n", style="yellow")
    if total:
        style = "green" if met == total else "red"
        lines.append(f"{met} of {plural(total, 'expectation')} of the scenario met", style=style)
    lines.rstrip()
    return lines if lines.plain else None


def _doubts(doubts: tuple[DoubtView, ...]) -> RenderableType:
    """A line a code: the first of its kind stands for the others, which are in the report."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for code, alike in groupby(doubts, key=lambda doubt: doubt.code):
        first, *rest = alike
        style = "bold yellow" if first.voids else "yellow"
        text = Text(first.text)
        more = f", and {len(rest)} more like it in the report" if rest else ""
        text.append(f"  ({first.where}{more})", style="dim")
        text.append(f"\n→ {first.mend}", style="dim")
        table.add_row(Text(f"void {code}" if first.voids else code, style=style), text)
    return table
