"""What ``hopbench analyze`` and ``critical-path`` show in a terminal, from their documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from analysis.report.figures import count, ms, plural
from analysis.report.view import finding_row

Json = Mapping[str, Any]
EDGES = 30
PATHS = 15
TRACES = 20


def analysis(document: Json) -> RenderableType:
    """The report of a ``hopbench.analysis/1`` document."""
    of = document["input"]
    head = Text()
    head.append(plural(of["traces"], "trace"), style="bold")
    head.append(f" of {plural(of['spans'], 'span')} in {plural(of['files'], 'file')}")
    for name, times in of["repairs"].items():
        if times:
            head.append(f"  {name} {times}", style="yellow")
    if of["skipped"]:
        head.append(f"  skipped {len(of['skipped'])}", style="bold yellow")
    totals = Text(
        f"{plural(document['total_inter_service_calls'], 'call')} between services, "
        f"{plural(document['unique_service_pairs'], 'pair')} of services"
    )
    return Group(
        head,
        totals,
        *_skipped(of["skipped"]),
        _section("Calls", _edges(document["edges"])),
        _section("Critical path", _path(document["critical_path"])),
        _section("Findings", _findings(document)),
    )


def critical_paths(document: Json) -> RenderableType:
    """The report of a ``hopbench.critical-path/1`` document: the slowest traces first."""
    traces = sorted(document["traces"], key=lambda t: (-t["root_duration_ns"], t["trace_id"]))
    parts: list[RenderableType] = [
        Text(f"{plural(len(traces), 'root')}, preset {document['preset']}", style="bold")
    ]
    for trace in traces[:TRACES]:
        total = trace["root_duration_ns"]
        parts.append(Text(f"\n{trace['trace_id']}  {ms(total / 1e6)}", style="bold"))
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(justify="right")
        table.add_column(justify="right")
        table.add_column()
        by_time = sorted(trace["exclusive_ns"].items(), key=lambda item: (-item[1], item[0]))
        for name, own in by_time[:PATHS]:
            table.add_row(ms(own / 1e6), f"{own / total:.0%}" if total else "", Text(name))
        parts.append(Padding(table, (0, 0, 0, 2)))
    if len(traces) > TRACES:
        parts.append(Text(f"\nand {len(traces) - TRACES} more; --json has them all", style="dim"))
    return Group(*parts)


def _section(title: str, of: RenderableType) -> RenderableType:
    return Group(Text(f"\n{title}", style="bold"), Padding(of, (0, 0, 0, 2)))


def _skipped(skipped: Sequence[Json]) -> list[RenderableType]:
    reasons: dict[str, int] = {}
    for one in skipped:
        reasons[one["reason"]] = reasons.get(one["reason"], 0) + 1
    return [
        Text(f"skipped {plural(times, 'span')}: {reason}", style="yellow")
        for reason, times in reasons.items()
    ]


def _edges(edges: Sequence[Json]) -> RenderableType:
    if not edges:
        return Text("no call between services was traced", style="dim")
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 2, 0, 0))
    table.add_column("edge", overflow="fold")
    for name in ("calls/trace", "P50", "P99", "transport", "errors"):
        table.add_column(name, justify="right", no_wrap=True)
    busiest = sorted(edges, key=lambda e: -e["calls"])
    for edge in busiest[:EDGES]:
        per = edge["calls_per_request"]
        table.add_row(
            Text(
                f"{edge['caller']} → {edge['callee']} {edge['operation']}"
                + (f" ({edge['protocol']})" if edge["protocol"] else "")
            ),
            count(None if per is None else round(per, 2)),
            ms(_of(edge["client_ms"], "p50")),
            ms(_of(edge["client_ms"], "p99")),
            ms(_of(edge["tax_ms"], "p50")),
            count(edge["errors"]) if edge["errors"] else "",
        )
    if len(edges) > EDGES:
        table.caption = f"and {len(edges) - EDGES} more; --json has them all"
        table.caption_justify = "left"
    return table


def _of(quantiles: Json | None, name: str) -> float | None:
    return None if quantiles is None else quantiles[name]


def _path(rows: Sequence[Json]) -> RenderableType:
    if not rows:
        return Text("no root was found", style="dim")
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(justify="right")
    table.add_column()
    table.add_column(style="dim")
    largest = sorted(rows, key=lambda row: -row["share"])
    for row in largest[:PATHS]:
        table.add_row(
            f"{row['share']:.0%}",
            Text(f"{row['service']} {row['operation']}"),
            Text(f"of {row['root']}"),
        )
    return table


def _findings(document: Json) -> RenderableType:
    text = Text()
    for finding in map(finding_row, document["findings"]):
        text.append("● ", style="red").append(finding.kind, style="bold red")
        text.append(f"  {finding.place}", style="bold")
        text.append(f"  costs {finding.cost} of the critical path", style="dim")
        text.append(f"\n  {finding.text}")
        if finding.advice:
            text.append("\n  try ").append(finding.advice, style="green")
            text.append(f"  could save {finding.saving}", style="dim")
        text.append("\n")
    if not document["findings"]:
        text.append("nothing above the thresholds\n", style="green")
    if document["minor"]:
        text.append(f"and {plural(len(document['minor']), 'minor one')}; --json has them\n", "dim")
    text.rstrip()
    return text
