"""A scenario → YAML, without loss: ``parse_text(to_yaml(s)) == s`` for every scenario that a file
can say, also with rate, seed or duration replaced.

What cannot come back is what only refactors make: an edge whose items stem from several steps.
Variants are written as refactors over the base, so a file never needs it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import yaml

from services.scenario.file.expectations import write_expectations
from services.scenario.file.faults import write_faults
from services.scenario.file.load import write_load
from services.scenario.file.parser import DESCRIPTION, FIGURES, VERSION
from services.scenario.model import Origin, Scenario, Service, Variant
from services.scenario.names import is_name
from services.scenario.refactors import to_mapping
from services.scenario.steps import write_steps
from services.scenario.steps.calls import Talk
from services.scenario.steps.kind import WritePlace
from services.scenario.text.forms import written
from services.scenario.text.services import OF_SERVICE
from services.scenario.tree import operations, walk

_DUMPER: Final = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def to_yaml(scenario: Scenario) -> str:
    """The file. Raises ValueError for what refactors made (apply variants after reading)."""
    for _, operation in operations(scenario):
        for step in walk(operation.steps):
            if isinstance(step, Talk) and step.edge.origins != (Origin(step.id, step.edge.count),):
                raise ValueError(f"the items of {step.id} come from other steps: not a base")
    plain = to_plain(scenario)
    for step_id in _ids(plain["services"]):
        if not is_name(step_id):
            raise ValueError(f"the id {step_id} is not that of its place: not a base")
    text: str = yaml.dump(
        plain,
        Dumper=_DUMPER,
        sort_keys=False,
        allow_unicode=True,
        width=100,
    )
    return text


def _ids(node: object) -> Iterator[str]:
    """Those that are written: of steps whose id is not that of their place."""
    if isinstance(node, dict):
        if isinstance(written_id := node.get("id"), str):
            yield written_id
        node = list(node.values())
    if isinstance(node, list):
        for inner in node:
            yield from _ids(inner)


def to_plain(scenario: Scenario) -> dict[str, object]:
    """The file's content as plain data."""
    plain: dict[str, object] = {"version": VERSION, **written(FIGURES, scenario)}
    plain["services"] = {name: _service(s) for name, s in scenario.services.items()}
    plain["load"] = write_load(scenario.load)
    if scenario.faults:
        plain["faults"] = write_faults(scenario.faults)
    if scenario.expectations:
        plain["expectations"] = write_expectations(scenario.expectations)
    if scenario.variants:
        plain["variants"] = {name: _variant(v) for name, v in scenario.variants.items()}
    return plain


def _service(service: Service) -> dict[str, object]:
    return {
        **written(OF_SERVICE, service),
        "operations": {
            name: write_steps(WritePlace(service.name, name, "", write_steps), operation.steps)
            for name, operation in service.operations.items()
        },
    }


def _variant(variant: Variant) -> dict[str, object]:
    plain = written((DESCRIPTION,), variant)
    plain["refactors"] = [to_mapping(refactor) for refactor in variant.refactors]
    if variant.expectations is not None:
        plain["expectations"] = write_expectations(variant.expectations)
    return plain
