"""What an operator is, and what operators share: finding the calls of an edge, and reading one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from services.errors import BadInput
from services.scenario.model import Call, EdgeRef, Publish, Refactor, Scenario, Step
from services.scenario.names import is_name
from services.scenario.text.reader import Reader, bad, did_you_mean, shown, text
from services.scenario.text.source import Node
from services.scenario.tree import Steps, operations, walk, with_blocks

_FORM: Final = "write caller->callee.operation or caller.operation->callee.operation"


@dataclass(frozen=True, slots=True)
class Operator:
    """One refactor operator, as the table holds it.

    ``apply`` is pure. It keeps the ids of what it moves, and the origins of items, so that every
    choice is the same before and after; it raises BadInput with the reason where the operator
    does not apply, or would change nothing.
    """

    type: type[Refactor]
    read: Callable[[Reader], Refactor]
    write: Callable[[Any], dict[str, object]]
    apply: Callable[[Scenario, Any], Scenario]


def edge_ref(file: str | None, node: Node) -> EdgeRef:
    """``caller->callee.operation`` or ``caller.operation->callee.operation``."""
    found = text(file, node)
    caller, arrow, callee = (part.strip() for part in found.partition("->"))
    caller, dot, caller_operation = caller.partition(".")
    callee, callee_dot, operation = callee.partition(".")
    parts = (caller, callee, operation, *((caller_operation,) if dot else ()))
    if not arrow or not callee_dot or not all(is_name(part) for part in parts):
        raise bad(file, node, f"{shown(node)} is not an edge", _FORM)
    return EdgeRef(caller, caller_operation if dot else None, callee, operation)


def matches(ref: EdgeRef, service: str, operation: str, step: Step) -> bool:
    """Whether the step, in this operation of this service, is a call or publish of the edge."""
    return (
        isinstance(step, Call | Publish)
        and ref.caller == service
        and ref.caller_operation in (None, operation)
        and step.edge.target.service == ref.callee
        and step.edge.target.operation == ref.operation
    )


def of_edge(scenario: Scenario, ref: EdgeRef) -> Iterator[Call | Publish]:
    for service, operation in operations(scenario):
        for step in walk(operation.steps):
            if matches(ref, service.name, operation.name, step):
                assert isinstance(step, Call | Publish)
                yield step


def edge_refs(scenario: Scenario) -> list[str]:
    """Every edge of the scenario, as an operator would name it."""
    return sorted(
        {
            str(EdgeRef(s.name, None, step.edge.target.service, step.edge.target.operation))
            for s, o in operations(scenario)
            for step in walk(o.steps)
            if isinstance(step, Call | Publish)
        }
    )


def calls_of(scenario: Scenario, op: str, ref: EdgeRef) -> list[Call | Publish]:
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
