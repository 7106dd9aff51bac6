"""A scenario → YAML, without loss: ``parse_text(to_yaml(s)) == s`` for every scenario that a file
can say, also with rate, seed or duration replaced.

What cannot come back is what only refactors make: an edge whose items stem from several steps.
Variants are written as refactors over the base, so a file never needs it.
"""

from __future__ import annotations

from typing import Final

import yaml

from services.scenario.file.expectations import write_expectations
from services.scenario.file.load import write_faults, write_load
from services.scenario.file.steps import write_steps
from services.scenario.file.steps.kind import WritePlace
from services.scenario.model import Call, Origin, Publish, Scenario, Service, Variant
from services.scenario.names import is_name
from services.scenario.refactors import to_mapping
from services.scenario.tree import operations, walk

_DUMPER: Final = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def to_yaml(scenario: Scenario) -> str:
    """The file. Raises ValueError for what refactors made (apply variants after reading)."""
    for service, operation in operations(scenario):
        for step in walk(operation.steps):
            if not is_name(step.id) and not step.id.startswith(f"{service.name}.{operation.name}/"):
                raise ValueError(f"the id {step.id} was made by a refactor: not a base")
            if isinstance(step, Call | Publish) and step.edge.origins != (
                Origin(step.id, step.edge.count),
            ):
                raise ValueError(f"the items of {step.id} come from other steps: not a base")
    text: str = yaml.dump(
        to_plain(scenario),
        Dumper=_DUMPER,
        sort_keys=False,
        allow_unicode=True,
        width=100,
    )
    return text


def to_plain(scenario: Scenario) -> dict[str, object]:
    """The file's content as plain data."""
    plain: dict[str, object] = {"version": 1, "name": scenario.name}
    if scenario.description:
        plain["description"] = scenario.description
    plain["seed"] = scenario.seed
    if scenario.processes is not None:
        plain["processes"] = scenario.processes
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
    plain: dict[str, object] = {}
    if service.replicas != 1:
        plain["replicas"] = service.replicas
    if service.balance != "round_robin":
        plain["balance"] = service.balance
    if service.max_concurrent is not None:
        plain["workers"] = service.max_concurrent
    plain["operations"] = {
        name: write_steps(WritePlace(service.name, name, "", write_steps), operation.steps)
        for name, operation in service.operations.items()
    }
    return plain


def _variant(variant: Variant) -> dict[str, object]:
    plain: dict[str, object] = {}
    if variant.description:
        plain["description"] = variant.description
    plain["refactors"] = [to_mapping(refactor) for refactor in variant.refactors]
    if variant.expectations is not None:
        plain["expectations"] = write_expectations(variant.expectations)
    return plain
