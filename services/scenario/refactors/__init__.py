"""Refactors: pure functions Scenario → Scenario, one file an operator, in a literal table.

To add one: a file here with a class derived from Refactor and an Operator, and a line in
:data:`OPERATORS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pkgutil import resolve_name
from typing import Final

from services.errors import BadInput
from services.scenario.model import Refactor, Scenario
from services.scenario.refactors.operator import Operator
from services.scenario.text.forms import TEXT, Key, Schema, mapping_schema, raw, read, written
from services.scenario.text.reader import bad, did_you_mean, mapping, quoted
from services.scenario.text.source import Node

OPERATORS: Final[Mapping[str, str]] = {
    "batch": "services.scenario.refactors.batch:BATCH",
    "parallelize": "services.scenario.refactors.parallelize:PARALLELIZE",
    "asyncify": "services.scenario.refactors.asyncify:ASYNCIFY",
    "protocol": "services.scenario.refactors.protocol:PROTOCOL",
    "cache": "services.scenario.refactors.cache:CACHE",
    "merge": "services.scenario.refactors.merge:MERGE",
    "bound": "services.scenario.refactors.bound:BOUND",
    "hedge": "services.scenario.refactors.hedge:HEDGE",
    "set": "services.scenario.refactors.set:SET",
    "without": "services.scenario.refactors.without:WITHOUT",
}
"""Name → ``module:name`` of the operator, imported when first used."""
BASELINE: Final = "baseline"
_OP: Final = Key("op", TEXT, example="{op: batch, edge: order->inventory.reserve, size: 20}")


def apply(scenario: Scenario, variant: str) -> Scenario:
    """The scenario with the variant's refactors applied in order, and its expectations.

    ``baseline`` is the scenario itself. Raises BadInput for a variant that does not exist, and
    with the reason where an operator does not apply.
    """
    if variant == BASELINE:
        return scenario
    if variant not in scenario.variants:
        known = [BASELINE, *scenario.variants]
        raise BadInput(
            f"{scenario.name} has no variant {variant!r}",
            hint=did_you_mean(variant, known) or f"variants: {', '.join(known)}",
        )
    chosen = scenario.variants[variant]
    changed = scenario
    for refactor in chosen.refactors:
        changed = apply_refactor(changed, refactor)
    if chosen.expectations is not None:
        changed = replace(changed, expectations=chosen.expectations)
    return changed


def variant_scenarios(scenario: Scenario) -> dict[str, Scenario]:
    """Baseline and every variant, in file order."""
    return {name: apply(scenario, name) for name in (BASELINE, *scenario.variants)}


def apply_refactor(scenario: Scenario, refactor: Refactor) -> Scenario:
    return operator_of(refactor)[1].apply(scenario, refactor)


@cache
def _operator(path: str) -> Operator:
    operator: Operator = resolve_name(path)
    return operator


def operator_of(refactor: Refactor) -> tuple[str, Operator]:
    for name, path in OPERATORS.items():
        operator = _operator(path)
        if operator.type is type(refactor):
            return name, operator
    raise AssertionError(f"{type(refactor).__name__} is missing in the table of operators")


def read_refactor(file: str, node: Node) -> Refactor:
    r = mapping(file, node, "a refactor")
    op = _OP.read(r)
    if op not in OPERATORS:
        raise bad(
            file,
            r.node.items["op"],
            f"there is no operator {quoted(op)}",
            did_you_mean(op, OPERATORS) or f"operators: {', '.join(OPERATORS)}",
        )
    r.what = f"the operator {op}"
    operator = _operator(OPERATORS[op])
    said = read(operator.keys, r)
    r.done()
    return operator.type(**said)


def to_mapping(refactor: Refactor) -> dict[str, object]:
    """``{"op": "batch", "edge": "order->inventory.reserve", "size": 20}``."""
    name, operator = operator_of(refactor)
    return {"op": name, **written(operator.keys, refactor)}


def definitions() -> dict[str, Schema]:
    """Of refactors, for the published schema."""
    return {
        "refactor": {
            "oneOf": [
                mapping_schema((Key("op", raw({"const": name})), *_operator(path).keys))
                for name, path in OPERATORS.items()
            ]
        }
    }
