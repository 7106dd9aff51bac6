"""Faults on the callee's side: which apply to a call, and what they do to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from services.scenario.chance import item_key, uniform
from services.scenario.model import Fault, Scenario
from services.scenario.steps.calls import Talk
from services.scenario.tree import walk
from services.wire.ports import Incoming

Caller = tuple[str, str]
"""Service and operation."""


def callers(scenario: Scenario) -> Mapping[str, tuple[Caller, ...]]:
    """Who sends the items that a step first named, by step id: several where it was merged.

    A ticket names steps, never callers; and a joined edge carries items under the ids of the steps
    that it replaced, which exist no longer.
    """
    found: dict[str, tuple[Caller, ...]] = {}
    for service in scenario.services.values():
        for operation in service.operations.values():
            for step in walk(operation.steps):
                if isinstance(step, Talk):
                    for origin in step.edge.origins:
                        caller = (service.name, operation.name)
                        found[origin.step] = (*found.get(origin.step, ()), caller)
    return found


@dataclass(frozen=True, slots=True)
class Faults:
    """The faults that can touch one replica."""

    by_operation: Mapping[str, tuple[Fault, ...]]
    pauses: tuple[Fault, ...]
    callers: Mapping[str, tuple[Caller, ...]]

    def at(self, incoming: Incoming, now_ns: int, measured_from_ns: int | None) -> list[Fault]:
        """Those in force for this call, in the scenario's order.

        ``measured_from_ns`` is None as long as the round has not begun; faults with a ``from``
        are then not in force yet.
        """
        return [
            fault
            for fault in self.by_operation.get(incoming.operation, ())
            if _in_time(fault, now_ns, measured_from_ns)
            and (
                (fault.scope.caller is None and fault.scope.caller_operation is None)
                or self._called_by(fault, incoming)
            )
        ]

    def _called_by(self, fault: Fault, incoming: Incoming) -> bool:
        step = incoming.ticket.partition(";")[2].partition("@")[0]
        peer = incoming.peer.partition("/")[0]
        known = self.callers.get(step, ((peer, ""),))
        service, operation = next((each for each in known if each[0] == peer), known[0])
        return fault.scope.caller in (None, service) and fault.scope.caller_operation in (
            None,
            operation,
        )


def _in_time(fault: Fault, now_ns: int, measured_from_ns: int | None) -> bool:
    if measured_from_ns is None:
        return fault.from_ns is None
    since = now_ns - measured_from_ns
    return (fault.from_ns is None or since >= fault.from_ns) and (
        fault.to_ns is None or since < fault.to_ns
    )


def faults_of(scenario: Scenario, service: str, replica: int) -> Faults | None:
    """What can touch this replica; None where nothing can, so that it pays nothing."""
    here = [
        fault
        for fault in scenario.faults
        if fault.scope.service in (None, service) and fault.scope.replica in (None, replica)
    ]
    if not here:
        return None
    return Faults(
        by_operation={
            operation: tuple(
                f for f in here if f.kind != "pause" and f.scope.operation in (None, operation)
            )
            for operation in scenario.services[service].operations
        },
        pauses=tuple(f for f in here if f.kind == "pause"),
        callers=callers(scenario)
        if any(f.scope.caller is not None or f.scope.caller_operation is not None for f in here)
        else {},
    )


def latency_ns(fault: Fault, key: int, attempt: int) -> int:
    """How long the call is held up; drawn under the first item's key, apart for each fault."""
    if fault.latency is None:
        return 0
    return max(0, round(fault.latency.at(uniform(item_key(key, fault.id, 0), "latency", attempt))))


def strikes(fault: Fault, key: int, attempt: int) -> bool:
    """Whether the call is touched at all, with the fault's probability."""
    if fault.probability >= 1.0:
        return True
    return uniform(item_key(key, fault.id, 0), "error", attempt) < fault.probability
