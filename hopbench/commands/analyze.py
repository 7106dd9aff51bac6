"""``hopbench analyze``: what is wrong with how services communicate, from anybody's traces."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from analysis.analyse import analyse
from analysis.document import analysis_document
from analysis.readers import Read, read
from analysis.report.traces import analysis
from analysis.settings import Settings
from hopbench import options, subjects
from hopbench.exits import Exit, worst
from hopbench.gates import check, judge, parse
from hopbench.output import Output
from hopbench.rundir import RunDir
from services.errors import BadInput
from services.scenario.facts import EMPTY, Facts, facts_of
from services.scenario.parse import load


def command(
    traces: Annotated[
        list[Path],
        typer.Argument(
            help="Trace files, directories of them, run directories.", show_default=False
        ),
    ],
    *,
    variant: Annotated[
        str | None,
        typer.Option("--variant", metavar="NAME", help="Of run directories: this variant alone."),
    ] = None,
    skew: Annotated[
        bool, typer.Option("--adjust-skew", help="Shift spans of hosts whose clock is off.")
    ] = False,
    fail_on: options.FailOn = None,
    json: options.Json = None,
    quiet: options.Quiet = False,
) -> Exit:
    """Find chatty edges, chains, fan-outs and what they cost, in Jaeger, OTLP, Tempo and Zipkin
    files.
    """
    output = Output(json, quiet)
    gates = [parse(text) for text in fail_on or ()]
    with output.working("reading"):
        found = read(traces, skew=skew)
    if variant is not None:
        found = _only(found, variant)
    with output.working("analysing"):
        document = analysis_document(
            found, analyse(found.spans, _facts(traces), Settings(), "analyze")
        )
    values = subjects.of_analysis(document)
    check(gates, values)
    output.show(analysis(document))
    output.document(document)
    outcomes = [judge(gate, values) for gate in gates]
    for outcome in outcomes:
        output.note(outcome.line())
    return worst(outcome.exit for outcome in outcomes)


def _only(found: Read, variant: str) -> Read:
    """The traces of one variant. Raises BadInput with the names that exist."""
    spans = found.spans
    code = spans.code(variant)
    marked = np.zeros(spans.traces, np.bool_)
    if code >= 0:
        marked[spans.trace[spans.variant == code]] = True
    if not marked.any():
        names = sorted(spans.names[c] for c in set(spans.variant.tolist()) if c >= 0)
        raise BadInput(
            f"no trace is of variant {variant!r}", hint=f"there are: {', '.join(names) or 'none'}"
        )
    return replace(found, spans=spans.select(marked))


def _facts(traces: list[Path]) -> Facts:
    """The scenario's, where everything is of one run; nothing is known of foreign traces."""
    if len(traces) != 1 or not RunDir(traces[0]).scenario.is_file():
        return EMPTY
    return facts_of(load(str(RunDir(traces[0]).scenario)).scenario)
