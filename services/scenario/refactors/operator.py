"""What an operator is, and what operators share: finding the calls of an edge."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from services.errors import BadInput
from services.scenario.model import (
    EdgeRef,
    Operation,
    Refactor,
    Scenario,
    Service,
    Step,
    Steps,
)
from services.scenario.steps.calls import Talk
from services.scenario.text import edges
from services.scenario.text.forms import Key
from services.scenario.text.reader import did_you_mean
from services.scenario.tree import operations, walk, with_blocks, with_operations


@dataclass(frozen=True, slots=True)
class Operator:
    """One refactor operator, as the table holds it.

    ``apply`` is pure. It keeps the ids of what it moves, and the origins of items, so that every
    choice is the same before and after; it raises BadInput with the reason where the operator
    does not apply, or would change nothing.
    """

    type: type[Refactor]
    keys: tuple[Key, ...]
    """Beside ``op``; their fields are those of the type."""
    apply: Callable[[Scenario, Any], Scenario]


EDGE: Final = Key("edge", edges.EDGE, example="edge: order->inventory.reserve")


def matches(ref: EdgeRef, service: str, operation: str, step: Step) -> bool:
    """Whether the step, in this operation of this service, is a call or publish of the edge."""
    return (
        isinstance(step, Talk)
        and ref.caller == service
        and ref.caller_operation in (None, operation)
        and step.edge.target.service == ref.callee
        and step.edge.target.operation == ref.operation
    )


def of_edge(scenario: Scenario, ref: EdgeRef) -> Iterator[Talk]:
    for service, operation in operations(scenario):
        for step in walk(operation.steps):
            if isinstance(step, Talk) and matches(ref, service.name, operation.name, step):
                yield step


def edge_refs(scenario: Scenario) -> list[str]:
    """Every edge of the scenario, as an operator would name it."""
    return sorted(
        {
            str(EdgeRef(s.name, None, step.edge.target.service, step.edge.target.operation))
            for s, o in operations(scenario)
            for step in walk(o.steps)
            if isinstance(step, Talk)
        }
    )


def calls_of(scenario: Scenario, op: str, ref: EdgeRef) -> list[Talk]:
    """The steps of the edge; BadInput where there is none."""
    found = list(of_edge(scenario, ref))
    if not found:
        known = edge_refs(scenario)
        raise BadInput(
            f"{op}: nothing calls {ref}",
            hint=did_you_mean(str(ref), known) or f"edges: {', '.join(known[:12])}",
        )
    return found


def rewritten(steps: Steps, rewrite: Callable[[Step], Step]) -> Steps:
    """Every step rewritten, those inside before those around them."""
    return tuple(rewrite(with_blocks(step, lambda s: rewritten(s, rewrite))) for step in steps)


def with_edge(scenario: Scenario, ref: EdgeRef | None, change: Callable[[Talk], Step]) -> Scenario:
    """The scenario with every call and publish of the edge (None: of all) changed."""

    def rewrite(service: Service, operation: Operation) -> Operation:
        def changed(step: Step) -> Step:
            if isinstance(step, Talk) and (
                ref is None or matches(ref, service.name, operation.name, step)
            ):
                return change(step)
            return step

        return replace(operation, steps=rewritten(operation.steps, changed))

    return with_operations(scenario, rewrite)
