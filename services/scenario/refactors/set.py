"""``set``: other figures at a service, an operation or an edge.

Each place has keys of its own; what is not named stays. Sizes and times are drawn where they were,
so that every item has the same luck before and after.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from services.errors import BadInput
from services.scenario.distributions import Distribution
from services.scenario.limits import MAX_REPLICAS
from services.scenario.model import (
    Balance,
    EdgeRef,
    Operation,
    Refactor,
    Retry,
    Scenario,
    Service,
    Step,
    Target,
)
from services.scenario.refactors.operator import Operator, calls_of, rewritten, with_edge
from services.scenario.steps.calls import Talk
from services.scenario.steps.time import Work
from services.scenario.text.amounts import TIME
from services.scenario.text.edges import EDGE, OPTIONS, TARGET
from services.scenario.text.forms import NAME, TEXT, UNSAID, Form, Key, integer
from services.scenario.text.reader import did_you_mean
from services.scenario.text.services import OF_SERVICE
from services.scenario.text.source import Leaf, Node
from services.scenario.tree import operations, walk, with_operations

Place = str | Target | EdgeRef
"""A service, an operation or an edge."""


@dataclass(frozen=True, slots=True)
class Set(Refactor):
    """Fields that the file does not say are :data:`UNSAID`."""

    at: Place
    step: str | None = None
    """Which step of work is meant, where an operation has several."""
    replicas: int = UNSAID
    balance: Balance = UNSAID
    max_concurrent: int | None = UNSAID
    work: Distribution = UNSAID
    timeout_ns: int | None = UNSAID
    retry: Retry | None = UNSAID
    request_bytes: Distribution = UNSAID
    response_bytes: Distribution = UNSAID
    partitions: int = UNSAID


def _place(file: str, node: Node) -> Place:
    text = node.text if isinstance(node, Leaf) else ""
    form: Form[Any] = EDGE if "->" in text else TARGET if "." in text else NAME
    place: Place = form.read(file, node)
    return place


_AT: Final = Form(_place, {"anyOf": [NAME.schema, TARGET.schema, EDGE.schema]}, str)
_OF_EDGE: Final = ("timeout", "retry", "request", "response")
_KEYS: Final[Mapping[type, tuple[Key, ...]]] = {
    str: tuple(replace(key, default=UNSAID) for key in OF_SERVICE),
    Target: (Key("work", TIME, UNSAID),),
    EdgeRef: (
        *(replace(key, default=UNSAID) for key in OPTIONS if key.name in _OF_EDGE),
        Key("partitions", integer(1, MAX_REPLICAS), UNSAID),
    ),
}
_CALLED: Final = {str: "a service", Target: "an operation", EdgeRef: "an edge"}


def _apply(scenario: Scenario, refactor: Set) -> Scenario:
    at, kind = refactor.at, type(refactor.at)
    said = {
        key.field: value
        for keys in _KEYS.values()
        for key in keys
        if (value := getattr(refactor, key.field)) is not UNSAID
    }
    can = {key.field: key.name for key in _KEYS[kind]}
    hint = f"{_CALLED[kind]} has {', '.join(can.values())}"
    if not said:
        raise BadInput(f"set: nothing is said for {at}", hint=hint)
    for keys in _KEYS.values():
        for key in keys:
            if key.field in said and key.field not in can:
                raise BadInput(f"set: {at} has no {key.name}", hint=hint)
    if isinstance(at, EdgeRef):
        changed = _edge(scenario, at, said)
    elif isinstance(at, Target):
        changed = _work(scenario, at, refactor)
    else:
        changed = _service(scenario, at, said)
    if changed == scenario:
        raise BadInput(f"set: {at} is so already")
    return changed


def _service(scenario: Scenario, name: str, said: Mapping[str, Any]) -> Scenario:
    if name not in scenario.services:
        raise _unknown(name, "service", [*scenario.services])
    service = replace(scenario.services[name], **said)
    return replace(scenario, services={**scenario.services, name: service})


def _work(scenario: Scenario, at: Target, refactor: Set) -> Scenario:
    known = {str(Target(s.name, o.name)): o for s, o in operations(scenario)}
    if str(at) not in known:
        raise _unknown(str(at), "operation", [*known])
    steps = [step.id for step in walk(known[str(at)].steps) if isinstance(step, Work)]
    if refactor.step is None and len(steps) != 1:
        many = f"{len(steps)} steps of work" if steps else "no step of work"
        raise BadInput(
            f"set: {at} has {many}",
            hint=f"name one of them: step: {steps[0]}" if steps else None,
        )
    chosen = steps[0] if refactor.step is None else refactor.step
    if chosen not in steps:
        raise _unknown(chosen, f"step of work in {at}", steps)

    def rewrite(service: Service, operation: Operation) -> Operation:
        def worked(step: Step) -> Step:
            if isinstance(step, Work) and step.id == chosen:
                return replace(step, cpu=refactor.work)
            return step

        if (service.name, operation.name) != (at.service, at.operation):
            return operation
        return replace(operation, steps=rewritten(operation.steps, worked))

    return with_operations(scenario, rewrite)


def _edge(scenario: Scenario, at: EdgeRef, said: Mapping[str, Any]) -> Scenario:
    of_edge = calls_of(scenario, "set", at)
    own = {field: value for field, value in said.items() if field != "partitions"}
    changed = with_edge(scenario, at, lambda talk: replace(talk, edge=replace(talk.edge, **own)))
    if "partitions" not in said:
        return changed
    if any(talk.edge.protocol != "kafka" for talk in of_edge):
        raise BadInput(
            f"set: {at} goes over {of_edge[0].edge.protocol}, which has no partitions",
            hint="partitions are of a Kafka topic",
        )
    target = of_edge[0].edge.target

    def parted(talk: Talk) -> Talk:
        # They are the topic's, whoever sends to it.
        if talk.edge.protocol != "kafka" or talk.edge.target != target:
            return talk
        kafka = replace(talk.edge.kafka, partitions=said["partitions"])
        return replace(talk, edge=replace(talk.edge, kafka=kafka))

    return with_edge(changed, None, parted)


def _unknown(name: str, what: str, known: list[str]) -> BadInput:
    return BadInput(
        f"set: there is no {what} {name!r}",
        hint=did_you_mean(name, known) or f"there are {', '.join(known[:12]) or 'none'}",
    )


SET: Final = Operator(
    Set,
    (
        Key("at", _AT, example="at: order"),
        Key("step", TEXT, None),
        *(key for keys in _KEYS.values() for key in keys),
    ),
    _apply,
)
