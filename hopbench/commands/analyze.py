"""``hopbench analyze``: what is wrong in how services communicate, in anybody's traces."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from analysis.analyse import Analysis, analysed, observe
from analysis.document import analysis_document
from analysis.figures import count, ms, plural
from analysis.findings.flows import Flow
from analysis.findings.settings import Settings
from analysis.reading import inputs
from analysis.reading.inputs import Read
from analysis.reading.normalisation import REPAIRS
from analysis.report.calls import slow_one
from analysis.report.terminal import advised
from analysis.report.view import finding_view
from analysis.rows.edges import EdgeRow
from analysis.spans.table import concat
from hopbench.engines.port import BrokerKind
from hopbench.exits import Exit, worst
from hopbench.front import ending, options
from hopbench.front.output import Output
from hopbench.front.settings import quantity
from hopbench.jaeger import lookback
from hopbench.jaeger.client import addresses
from hopbench.jaeger.links import linked
from hopbench.jaeger.lookback import Wanted
from hopbench.results import gate_values
from hopbench.results.flows import flows
from hopbench.results.gates import check, judge, parse
from hopbench.results.promises import promises
from hopbench.runs import directory as rundir
from hopbench.runs import evidence, plan, trial
from hopbench.runs.directory import RunDir
from hopbench.runs.environment import Environment
from hopbench.runs.plan import RunPlan
from services.codec import plain
from services.errors import BadInput
from services.scenario.facts import EMPTY, Facts, facts_of
from services.scenario.model import Scenario
from services.scenario.refactors import BASELINE
from services.scenario.text import units

Variant = Annotated[
    str | None,
    typer.Option("--variant", metavar="NAME", help="Of a run directory; default: baseline."),
]
Skew = Annotated[
    bool, typer.Option("--skew", help="Shift processes whose clocks are off, on the critical path.")
]
Traces = Annotated[
    list[str],
    typer.Argument(
        help="Trace files, directories, a run directory, or the address of a Jaeger "
        "(http://HOST:16686).",
        show_default=False,
    ),
]
Service = Annotated[
    list[str] | None,
    typer.Option("--service", metavar="NAME", help="Of a Jaeger; repeatable; default: all."),
]
LookBack = Annotated[
    str | None,
    typer.Option("--lookback", metavar="1h", help="Of a Jaeger: how old its traces may be."),
]
Limit = Annotated[
    int | None,
    typer.Option(
        "--limit",
        min=1,
        metavar="N",
        help=f"Of a Jaeger: the latest traces of each service; default {lookback.LIMIT}.",
    ),
]
_MOST_EDGES = 30


@dataclass(frozen=True, slots=True)
class Ran:
    """A variant of a run."""

    plan: RunPlan
    name: str
    flows: tuple[Flow, ...]
    broker: BrokerKind | None

    @property
    def scenario(self) -> Scenario:
        return self.plan.scenarios[self.name]


def command(
    traces: Traces,
    *,
    variant: Variant = None,
    skew: Skew = False,
    service: Service = None,
    look_back: LookBack = None,
    limit: Limit = None,
    json: options.Json = None,
    fail_on: options.FailOn = None,
    quiet: options.Quiet = False,
) -> Exit:
    """Find what is wrong in any traces: edges, critical path, findings with their refactors."""
    output = Output(json, quiet)
    gates = [parse(text) for text in fail_on or ()]
    with output.working("reading"):
        wanted = asked(traces, service, look_back, limit)
        read, ran = taken(traces, variant=variant, skew=skew, wanted=wanted)
    facts = EMPTY if ran is None else facts_of(ran.scenario)
    with output.working("analysing"):
        went = () if ran is None else ran.flows
        seen = observe(read.spans, facts, Settings(), "analyze", went)
        found = _linked(analysed(seen, read.spans.traces), read.address)
        if ran is not None:
            promised = promises(ran.plan, ran.name, seen, ran.broker, found.findings)
            findings, minor = promised.kept(found.findings), promised.kept(found.minor)
            found = replace(found, findings=findings, minor=minor)
    values = gate_values.of_analysis(found)
    check(gates, values)
    outcomes = [judge(gate, values) for gate in gates]
    output.show(_shown(read, found, facts))
    output.document(plain({**analysis_document(read, found), "gates": outcomes}))
    ending.tell(outcomes, output)
    return worst(outcome.exit for outcome in outcomes)


def asked(
    traces: Sequence[str], services: Sequence[str] | None, look_back: str | None, limit: int | None
) -> Wanted:
    """What is wanted of a Jaeger. Raises BadInput for flags that do not fit, or no Jaeger."""
    if not any(map(lookback.is_address, traces)):
        for flag, value in (("--service", services), ("--lookback", look_back), ("--limit", limit)):
            if value:
                raise BadInput(
                    f"{flag} is for the address of a Jaeger", hint="leave it out, or name one"
                )
    if any(not service.strip() for service in services or ()):
        raise BadInput("--service has no name", hint="leave it out for all services")
    since_ns = quantity("--lookback", look_back, units.duration)
    if since_ns is not None and since_ns <= 0:
        raise BadInput("--lookback must be more than 0")
    return Wanted(
        services=tuple(dict.fromkeys(services or ())),
        lookback_ns=lookback.LOOKBACK_NS if since_ns is None else since_ns,
        limit=limit or lookback.LIMIT,
    )


def taken(
    traces: Sequence[str],
    *,
    variant: str | None = None,
    skew: bool = False,
    wanted: Wanted = lookback.LATEST,
) -> tuple[Read, Ran | None]:
    """What ``traces`` name: the measured requests of one variant of a run, and which that is; or
    what a Jaeger has, or all that is in files and directories."""
    for name in traces:
        if lookback.is_address(name):
            if len(traces) > 1:
                raise BadInput(f"{name}: an address stands alone", hint="name one thing at a time")
            if variant is not None:
                raise BadInput("--variant is for run directories", hint="leave it out")
            return lookback.read(name, wanted, skew=skew), None
        if not os.path.exists(name):  # unlike Path's, False for what cannot be a name
            raise BadInput(
                f"{name} does not exist",
                hint="name trace files or directories, or a Jaeger as http://HOST:16686",
            )
    first = RunDir(Path(traces[0]))
    if len(traces) == 1 and first.plan.is_file() and first.scenario.is_file():
        return _of_run(first.path, variant)
    if variant is not None:
        raise BadInput("--variant is for run directories", hint="leave it out")
    return inputs.read([Path(name) for name in traces], skew=skew), None


def _linked(found: Analysis, address: str | None) -> Analysis:
    """Evidence with links, where it lies in a Jaeger."""
    if address is None:
        return found
    at = addresses(address)
    return replace(found, findings=linked(found.findings, at), minor=linked(found.minor, at))


def _of_run(path: Path, variant: str | None) -> tuple[Read, Ran]:
    """Raises BadInput where another hopbench is at work there."""
    run = rundir.opened(path)
    planned = plan.read(run)
    name = variant or (BASELINE if BASELINE in planned.scenarios else next(iter(planned.scenarios)))
    if name not in planned.scenarios:
        raise BadInput(
            f"--variant: {name!r} did not run", hint=f"there is: {', '.join(planned.scenarios)}"
        )
    turns = [turn for turn in planned.order if turn.variant == name]
    with rundir.claimed(run):
        rounds = [r for turn in turns if (r := trial.read(run, planned, turn)) is not None]
        spans = concat(r.measured_spans() for r in rounds)
        went = tuple(flow for r in rounds for flow in flows(r))
    repairs = dict.fromkeys(REPAIRS, 0)
    surroundings = evidence.read_file(Environment, run.environment)
    broker = None if surroundings is None else surroundings.broker
    return Read(spans, len(rounds), repairs, ()), Ran(planned, name, went, broker)


def _shown(read: Read, found: Analysis, facts: Facts) -> RenderableType:
    """For people: what was read, the edges, the findings."""
    head = Text()
    head.append(f"{plural(found.traces, 'trace')}", style="bold")
    source = read.address or plural(read.files, "file")
    head.append(f", {plural(len(read.spans), 'span')} from {source}; ")
    head.append(
        f"{plural(found.total_inter_service_calls, 'call')} between services, "
        f"{plural(found.unique_service_pairs, 'pair')} of them"
    )
    parts: list[RenderableType] = [head, *_repairs(read, found.outside), _edges(found.edges)]
    parts.append(Text(f"\n{plural(len(found.findings), 'finding')}", style="bold"))
    parts.extend(advised(finding_view(finding, scenario=facts.known)) for finding in found.findings)
    if found.minor:
        parts.append(Text(f"and {plural(len(found.minor), 'minor one')}, in --json", "dim"))
    return Group(*parts)


def _repairs(read: Read, outside: int) -> Iterator[Text]:
    repairs = {**read.repairs, "outside": outside}
    done = [f"{number} {name}" for name, number in repairs.items() if number]
    if done:
        yield Text(f"repaired or set aside: {', '.join(done)}", style="yellow")
    for each in read.skipped[:5]:
        where = each.file if each.offset is None else f"{each.file} at {each.offset}"
        yield Text(f"skipped: {where}: {each.reason}", style="yellow")
    if len(read.skipped) > 5:
        yield Text(f"skipped: {len(read.skipped) - 5} more", style="yellow")


def _edges(edges: Sequence[EdgeRow]) -> RenderableType:
    """By caller, busiest edges first; columns that would be empty are left out."""
    shown = edges[:_MOST_EDGES]
    extra = [
        name for name in ("errors", "retries", "hedges") if any(getattr(e, name) for e in shown)
    ]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("edge", overflow="fold")
    for name in ("calls/trace", "P50", "transport", *extra):
        table.add_column(name, justify="right", no_wrap=True)
    several = Counter((e.caller, e.callee, e.operation, e.protocol) for e in shown)
    for caller in dict.fromkeys(edge.caller for edge in shown):
        table.add_row(Text(caller, style="bold"))
        for edge in (edge for edge in shown if edge.caller == caller):
            shared = several[edge.caller, edge.callee, edge.operation, edge.protocol] > 1
            edge_name = Text(f" {edge.caller_operation}" if shared else "")
            edge_name.append(f" → {edge.callee}.{edge.operation}")
            edge_name.append(f"  {edge.protocol or ''}", style="dim")
            table.add_row(
                edge_name,
                count(round(edge.calls_per_request, 2)),
                ms(edge.client_ms.p50),
                ms(edge.tax_ms.p50),
                *(str(getattr(edge, name) or "") for name in extra),
            )
            if slow := slow_one([edge]):
                said = f"   {slow.instance} is slow, the others {ms(slow.others)}"
                table.add_row(Text(said, style="yellow"), "", ms(slow.p50))
    if len(edges) > _MOST_EDGES:
        table.caption = f"and {len(edges) - _MOST_EDGES} more, in --json"
        table.caption_justify = "left"
    return Group(Text(), table)
