"""Facts: what a scenario knows that its traces do not show. Empty for anybody else's traces.

An analyzer sees a span table and, beside it, one of these; nothing else of the scenario.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from services.scenario import names
from services.scenario.model import Scenario, Step, Steps
from services.scenario.steps.calls import Talk
from services.scenario.tree import operations, walk


@dataclass(frozen=True, slots=True)
class Facts:
    known: bool
    """False for foreign traces: then every other field is empty, and says nothing."""
    operations: Mapping[str, tuple[str, str]]
    """Wire name → (service, operation). Wire names are the gRPC method
    (``/hopbench.v1.Inventory/Reserve``), the topic (``inventory.reserve``), the HTTP route with
    its service (``inventory/reserve``), and the route alone (``/reserve``) where no other service
    has an operation of that name."""
    dependent: frozenset[tuple[str, str, str, str]]
    """(caller service, caller operation, earlier ``callee.operation``, later
    ``callee.operation``): a later call that needs an earlier one's result. Transitive."""
    replicas: Mapping[str, int]
    awaited: frozenset[tuple[str, str, str]] = frozenset()
    """(caller service, caller operation, ``callee.operation``): calls that any step, not only
    another call, is ``after``."""
    workers: Mapping[str, int] = field(default_factory=dict)
    """Of each replica, for services that say how many they have."""
    ordered: Mapping[tuple[str, str], tuple[str, int]] = field(default_factory=dict)
    """(service, operation) whose messages of a partition are handled one after another → an edge
    that asks for it, and the topic's partitions."""
    balances: Mapping[str, str] = field(default_factory=dict)
    """How callers choose among the replicas of a service."""
    busy: frozenset[str] = frozenset()
    """Services that use CPU: more workers of the same replica do not make them faster."""

    def operation_of(self, wire_name: str, service: str | None = None) -> tuple[str, str] | None:
        """(service, operation) for a wire name; None where it is not the scenario's.

        Takes the forms that spans carry: a route with or without its method and key
        (``POST /reserve/*``), a gRPC method with or without the leading slash, a topic.
        ``service`` is the serving one, which tells equal HTTP routes apart.
        """
        name = wire_name.rpartition(" ")[2]
        if name.startswith("/") and name not in self.operations and name.count("/") > 1:
            name = name[: name.index("/", 1)]
        if service is not None and (found := self.operations.get(f"{service}{name}")) is not None:
            return found
        return self.operations.get(name) or self.operations.get(f"/{name}")

    def needed(self, caller: str, operation: str, callee: str) -> bool:
        """Whether the caller uses the answer of ``callee``, written ``service.operation``."""
        return (caller, operation, callee) in self.awaited or any(
            (caller, operation, callee) == known[:3] for known in self.dependent
        )


EMPTY = Facts(known=False, operations={}, dependent=frozenset(), replicas={})


def facts_of(scenario: Scenario) -> Facts:
    """Facts of the scenario as it runs: pass the variant's, with its refactors applied."""
    served = [(s.name, o.name) for s, o in operations(scenario)]
    routes: dict[str, int] = {}
    for _, operation in served:
        routes[operation] = routes.get(operation, 0) + 1
    wire: dict[str, tuple[str, str]] = {}
    for place in served:
        service, operation = place
        wire[names.grpc_method(service, operation)] = place
        wire[names.topic(service, operation)] = place
        wire[f"{service}{names.http_path(operation)}"] = place
        if routes[operation] == 1:
            wire[names.http_path(operation)] = place
    return Facts(
        known=True,
        operations=wire,
        dependent=frozenset(
            (s.name, o.name, earlier, later)
            for s, o in operations(scenario)
            for earlier, later in _dependent(o.steps)
        ),
        replicas={s.name: s.replicas for s in scenario.services.values()},
        awaited=frozenset(
            (s.name, o.name, callee)
            for s, o in operations(scenario)
            for callee in _awaited(o.steps)
        ),
        workers={
            s.name: s.max_concurrent
            for s in scenario.services.values()
            if s.max_concurrent is not None
        },
        ordered=_ordered(scenario),
        balances={s.name: s.balance for s in scenario.services.values()},
        busy=frozenset(
            s.name
            for s, o in operations(scenario)
            if any(any(step.cpu_ns) for step in walk(o.steps))
        ),
    )


def _ordered(scenario: Scenario) -> dict[tuple[str, str], tuple[str, int]]:
    asking: dict[tuple[str, str], str] = {}
    partitions: dict[tuple[str, str], int] = {}
    for service, operation in operations(scenario):
        for step in walk(operation.steps):
            if isinstance(step, Talk) and step.edge.protocol == "kafka":
                to, kafka = step.edge.target, step.edge.kafka
                at = (to.service, to.operation)
                # A topic has as many as any edge to it asks for.
                partitions[at] = max(kafka.partitions, partitions.get(at, 0))
                if kafka.ordering == "partition":
                    asking[at] = f"{service.name}->{to}"
    return {at: (edge, partitions[at]) for at, edge in asking.items()}


def _dependent(steps: Steps) -> Iterator[tuple[str, str]]:
    """Pairs of callees, earlier and later. ``after`` names siblings, so each list stands alone."""
    needs: dict[str, frozenset[str]] = {}
    callees: dict[str, frozenset[str]] = {}
    for step in steps:
        callees[step.id] = _callees(step)
        needs[step.id] = frozenset(step.after).union(*(needs.get(i, ()) for i in step.after))
        for earlier in needs[step.id]:
            for first in callees.get(earlier, ()):
                for then in callees[step.id]:
                    yield first, then
        for block in step.blocks:
            yield from _dependent(block)


def _awaited(steps: Steps) -> Iterator[str]:
    callees = {step.id: _callees(step) for step in steps}
    for step in steps:
        for earlier in step.after:
            yield from callees.get(earlier, ())
        for block in step.blocks:
            yield from _awaited(block)


def _callees(step: Step) -> frozenset[str]:
    return frozenset(str(s.edge.target) for s in walk((step,)) if isinstance(s, Talk))
