"""The static side of a scenario's variant, numbered: every operation and every edge has an index.

All processes of a round build the same tables from the same scenario, so an index means the same
everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from services.ports import Wire, wire_of
from services.scenario.model import Call, Publish, Scenario, Target
from services.scenario.tree import walk


@dataclass(frozen=True, slots=True)
class Topology:
    operations: tuple[Target, ...]
    wires: tuple[Wire, ...]
    """One for each call or publish step, in the order of services, operations and steps."""
    wire_of_step: Mapping[str, Wire]
    """By step id."""
    operation_index: Mapping[Target, int]


def topology(scenario: Scenario) -> Topology:
    operations: list[Target] = []
    wires: list[Wire] = []
    by_step: dict[str, Wire] = {}
    for service in scenario.services.values():
        for operation in service.operations.values():
            operations.append(Target(service.name, operation.name))
            for step in walk(operation.steps):
                if isinstance(step, Call | Publish):
                    wire = wire_of(len(wires), service.name, operation.name, step.edge)
                    wires.append(wire)
                    by_step[step.id] = wire
    return Topology(
        operations=tuple(operations),
        wires=tuple(wires),
        wire_of_step=by_step,
        operation_index={target: i for i, target in enumerate(operations)},
    )


def uses_kafka(topology: Topology) -> bool:
    """Whether any edge needs a broker."""
    return any(wire.protocol == "kafka" for wire in topology.wires)
