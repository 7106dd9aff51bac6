"""``hopbench list``: the bundled scenarios, a line each."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from rich.table import Table

from hopbench.exits import Exit
from hopbench.front import options
from hopbench.front.output import Output
from services.scenario.file.parser import bundled, parse_text


@dataclass(frozen=True, slots=True)
class Listed:
    name: str
    description: str
    services: int
    variants: tuple[str, ...]


def listed() -> tuple[Listed, ...]:
    """Every bundled scenario, by name."""
    found = []
    for name, text in bundled().items():
        scenario = parse_text(text, f"{name}.yaml")
        found.append(
            Listed(
                name=name,
                description=scenario.description,
                services=len(scenario.services),
                variants=tuple(scenario.variants),
            )
        )
    return tuple(found)


def table(scenarios: tuple[Listed, ...]) -> Table:
    shown = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    shown.add_column("scenario", style="bold", no_wrap=True)
    shown.add_column("what it shows", no_wrap=True)
    shown.add_column("services", justify="right")
    shown.add_column("variants", justify="right")
    for scenario in scenarios:
        shown.add_row(
            scenario.name,
            scenario.description,
            str(scenario.services),
            str(len(scenario.variants)),
        )
    return shown


def command(*, json: options.Json = None) -> Exit:
    """The bundled scenarios, a line each. `hopbench run NAME` runs one."""
    scenarios = listed()
    output = Output(json)
    output.show(table(scenarios))
    output.document(
        {"schema": "hopbench.list/1", "scenarios": [asdict(scenario) for scenario in scenarios]}
    )
    return Exit.DONE
