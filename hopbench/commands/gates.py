"""``hopbench gates``: what ``--fail-on`` can ask of a run, with values where there are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from hopbench.comparison import gating
from hopbench.comparison.judgement import judged
from hopbench.exits import Exit
from hopbench.front import options
from hopbench.front.output import Output
from hopbench.results import gate_values
from hopbench.results.gates import EDGE_FIELDS, Subject, Subjects, Value, named
from hopbench.results.summary import summarise
from hopbench.runs import directory as rundir
from hopbench.runs import plan
from services.scenario.file.parser import load
from services.scenario.refactors import BASELINE, variant_scenarios


def names(subject: Subject) -> dict[str, Value]:
    """Every value of a subject, as a gate writes it."""
    return {
        **subject.values,
        **{f"findings.{kind}": count for kind, count in subject.finding_counts.items()},
        **{
            f"edge({edge}).{field}": row.values.get(field)
            for edge, row in named(subject.edges)
            for field in EDGE_FIELDS
        },
    }


def _table(name: str, subject: Subject) -> Table:
    shown = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    shown.add_column(Text(f"variant({name})."))
    shown.add_column("value", justify="right")
    for gate, value in names(subject).items():
        known = f"{value:.6g}" if isinstance(value, int | float) else value or "–"
        shown.add_row(Text(gate), Text(known))
    return shown


def _subjects(what: str) -> Subjects:
    if not (Path(what) / "plan.json").is_file():
        scenarios = variant_scenarios(load(what).scenario)
        return gating.names(scenarios, scenarios.keys() - {BASELINE})
    directory = rundir.opened(Path(what))
    planned = plan.read(directory)
    rundir.must_take(directory)
    with rundir.claimed(directory):
        summary = summarise(planned, directory)
        if planned.design is not None:
            return gating.of(planned, summary, judged(planned, directory, summary).document)
        return gate_values.of_summary(planned, summary)


def command(
    what: Annotated[str, typer.Argument(help="A run directory, or a scenario.")],
    *,
    json: options.Json = None,
) -> Exit:
    """Every name that `--fail-on` knows, and its value."""
    output = Output(json)
    subjects = _subjects(what)
    for name, subject in subjects.by_name.items():
        output.show(_table(name, subject))
    output.document(
        {
            "schema": "hopbench.gates/1",
            "default": subjects.default,
            "variants": [
                {"name": name, "values": names(subject)}
                for name, subject in subjects.by_name.items()
            ],
        }
    )
    return Exit.DONE
