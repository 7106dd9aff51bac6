"""``hopbench validate``: check a scenario, and print what it asks for, without running it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hopbench.exits import Exit
from hopbench.front import options
from hopbench.front.output import Output
from services.scenario.capacity import Shape, shape
from services.scenario.file.parser import Loaded, load
from services.scenario.file.validation import Problem, validate
from services.scenario.model import Scenario
from services.scenario.refactors import variant_scenarios


def shapes(scenario: Scenario) -> dict[str, Shape]:
    """Baseline's and every variant's."""
    return {name: shape(changed) for name, changed in variant_scenarios(scenario).items()}


def figures(of: dict[str, Shape]) -> Table:
    shown = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    shown.add_column("variant", style="bold", no_wrap=True)
    for header in ("calls/request", "at worst", "hops deep", "at once", "hops/s", "most CPU"):
        shown.add_column(header, justify="right", no_wrap=True)
    for name, one in of.items():
        busiest = max(one.demand, key=lambda name: one.demand[name].cpu_cores, default=None)
        shown.add_row(
            name,
            f"{one.calls_mean:.2f}",
            str(one.calls_worst),
            str(one.depth),
            str(one.fan_out),
            "as answered" if one.hops_per_s is None else f"{one.hops_per_s:.0f}",
            "" if busiest is None else f"{busiest} {one.demand[busiest].cpu_cores:.2f}",
        )
    return shown


def warnings(loaded: Loaded) -> list[Text]:
    """Those of the base: a variant changes what is asked, rarely what is wrong."""
    return [_warning(loaded, p) for p in validate(loaded.scenario) if p.severity == "warning"]


def _warning(loaded: Loaded, problem: Problem) -> Text:
    line = loaded.lines.get(problem.at)
    place = loaded.file if line is None else f"{loaded.file}:{line}"
    shown = Text.assemble((f"{place}: ", "bold"), ("warning: ", "yellow"), problem.text)
    if problem.hint:
        shown.append(f"\n  {problem.hint}", style="dim")
    return shown


def report(loaded: Loaded) -> RenderableType:
    scenario = loaded.scenario
    operations = sum(len(service.operations) for service in scenario.services.values())
    size = ", ".join(
        f"{number} {what}" if number == 1 else f"{number} {what}s"
        for number, what in (
            (len(scenario.services), "service"),
            (operations, "operation"),
            (len(scenario.variants), "variant"),
        )
    )
    head = Text.assemble(
        (scenario.name, "bold"),
        f" is valid: {size}, {scenario.load.pace}",
    )
    return Group(head, "", figures(shapes(scenario)), *warnings(loaded))


def command(
    scenario: options.Scenario,
    *,
    json: options.Json = None,
) -> Exit:
    """Check a scenario without running it; errors name file and line."""
    output = Output(json)
    loaded = load(scenario)
    output.show(report(loaded))
    output.document(document(loaded))
    return Exit.DONE


def document(loaded: Loaded) -> dict[str, Any]:
    """``hopbench.validation/1``."""
    return {
        "schema": "hopbench.validation/1",
        "scenario": loaded.scenario.name,
        "scenario_sha256": loaded.sha256,
        "file": loaded.file,
        "variants": [{"name": name, **asdict(of)} for name, of in shapes(loaded.scenario).items()],
        "warnings": [
            {
                "file": loaded.file,
                "line": loaded.lines.get(problem.at),
                "text": problem.text,
                "hint": problem.hint,
            }
            for problem in validate(loaded.scenario)
            if problem.severity == "warning"
        ],
    }
