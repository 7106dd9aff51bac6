"""The static side of a scenario's variant, numbered: every operation and every edge has an index.

All processes of a round build the same tables from the same scenario, so an index means the same
everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from services.scenario.model import Entry, Scenario, Target
from services.scenario.steps.calls import Talk
from services.scenario.text.edges import KAFKA
from services.scenario.tree import walk
from services.wire.ports import Wire, wire_of

T = TypeVar("T")

GENERATOR: Final = "generator"
"""The caller of entries, as topics, peers and reports name it."""


@dataclass(frozen=True, slots=True)
class Topology:
    operations: tuple[Target, ...]
    wires: tuple[Wire, ...]
    """One for each call or publish step, in the order of services, operations and steps."""
    wire_of_step: Mapping[tuple[str, str, str], Wire]
    """By service, operation and step id: a merged callee's steps are at several callers."""
    operation_index: Mapping[Target, int]
    doors: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By service: the operations that requests from outside enter over Kafka."""
    leaving: Mapping[str, tuple[Wire, ...]] = field(init=False)
    """By service: the edges that start there; services without any left out."""
    arriving: Mapping[str, tuple[Wire, ...]] = field(init=False)
    """By service: those that end there."""
    served: Mapping[str, tuple[str, ...]] = field(init=False)
    """By service: its operations, called or not."""

    def __post_init__(self) -> None:
        # A process may hold a thousand services, each of which asks for its own.
        found = object.__setattr__
        found(self, "leaving", _grouped((wire.caller, wire) for wire in self.wires))
        found(self, "arriving", _grouped((wire.callee, wire) for wire in self.wires))
        found(self, "served", _grouped((of.service, of.operation) for of in self.operations))


def topology(scenario: Scenario) -> Topology:
    operations: list[Target] = []
    wires: list[Wire] = []
    by_step: dict[tuple[str, str, str], Wire] = {}
    for service in scenario.services.values():
        for operation in service.operations.values():
            operations.append(Target(service.name, operation.name))
            for step in walk(operation.steps):
                if isinstance(step, Talk):
                    wire = wire_of(len(wires), service.name, operation.name, step.edge)
                    wires.append(wire)
                    by_step[service.name, operation.name, step.id] = wire
    return Topology(
        operations=tuple(operations),
        wires=tuple(wires),
        wire_of_step=by_step,
        operation_index={target: i for i, target in enumerate(operations)},
        doors=_grouped(
            (target.service, target.operation)
            for target in dict.fromkeys(
                entry.target for entry in scenario.load.entries if entry.protocol == "kafka"
            )
        ),
    )


def entrance(entries: Sequence[Entry]) -> Topology:
    """What the generator sends over Kafka, as edges of a service of that name; an edge's index is
    that of its entry."""
    wires = [
        Wire(
            index=number,
            caller=GENERATOR,
            caller_operation="",
            callee=entry.target.service,
            operation=entry.target.operation,
            protocol="kafka",
            mode=entry.mode,
            kafka=KAFKA,
        )
        for number, entry in enumerate(entries)
        if entry.protocol == "kafka"
    ]
    return Topology((), tuple(wires), {}, {})


def _grouped(pairs: Iterable[tuple[str, T]]) -> dict[str, tuple[T, ...]]:
    found: dict[str, list[T]] = {}
    for service, one in pairs:
        found.setdefault(service, []).append(one)
    return {service: tuple(those) for service, those in found.items()}


def uses_kafka(topology: Topology) -> bool:
    """Whether any edge, or an entry, needs a broker."""
    return bool(topology.doors) or any(wire.protocol == "kafka" for wire in topology.wires)
