"""What one form of a scenario changes against another: figures, edges, steps."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import ndiff
from typing import Final

import yaml

from services.scenario.capacity import Shape, calls_by_edge, calls_of, shape
from services.scenario.model import Edge, Operation, Scenario, Step, Steps
from services.scenario.steps import write_steps
from services.scenario.steps.calls import Publish, Talk
from services.scenario.steps.kind import WritePlace
from services.scenario.steps.merged import Merged
from services.scenario.text.amounts import DURATION
from services.scenario.text.edges import HEDGE_DELAY, written_options
from services.scenario.text.forms import written
from services.scenario.text.services import OF_SERVICE
from services.scenario.tree import operations, walk

_OF_SERVICE: Final = tuple(replace(key, always=True) for key in OF_SERVICE)
EdgeName = tuple[str, str, str, str]
"""Caller, its operation, callee, operation."""


@dataclass(frozen=True, slots=True)
class EdgeSide:
    calls_per_request: float
    how: str
    """``http, 6 calls of 1 item, one by one``."""


@dataclass(frozen=True, slots=True)
class EdgeChange:
    edge: EdgeName
    before: EdgeSide | None
    after: EdgeSide | None

    def __str__(self) -> str:
        caller, operation, callee, of = self.edge
        return f"{caller}.{operation}->{callee}.{of}"


@dataclass(frozen=True, slots=True)
class StepsChange:
    service: str
    operation: str
    lines: tuple[str, ...]
    """The operation's steps as YAML, each line behind ``- ``, ``+ `` or two spaces."""


@dataclass(frozen=True, slots=True)
class Difference:
    before: Shape
    after: Shape
    edges: tuple[EdgeChange, ...]
    """Those that differ, in the order of the scenario."""
    steps: tuple[StepsChange, ...]
    others: tuple[str, ...]
    """What else changes, in words: services, faults, and what goes with merged calls."""


def difference(before: Scenario, after: Scenario) -> Difference:
    return Difference(
        before=shape(before),
        after=shape(after),
        edges=_edges(before, after),
        steps=_steps(before, after),
        others=(
            *_services(before, after),
            *_faults(before, after),
            *_gone(before, after),
            *_hasty(before, after),
        ),
    )


def _edges(before: Scenario, after: Scenario) -> tuple[EdgeChange, ...]:
    old, new = _sides(before), _sides(after)
    names = list(dict.fromkeys([*old, *new]))
    return tuple(
        EdgeChange(name, old.get(name), new.get(name))
        for name in names
        if old.get(name) != new.get(name)
    )


def _sides(scenario: Scenario) -> Mapping[EdgeName, EdgeSide]:
    calls: dict[EdgeName, float] = defaultdict(float)
    for key, number in calls_by_edge(scenario).items():
        calls[key[:4]] += number
    ways: dict[EdgeName, list[str]] = defaultdict(list)
    for service, operation in operations(scenario):
        for step in walk(operation.steps):
            if isinstance(step, Talk):
                to = step.edge.target
                name = (service.name, operation.name, to.service, to.operation)
                ways[name].append(_how(step.edge))
    return {
        name: EdgeSide(calls[name], "; ".join(_counted(described)))
        for name, described in ways.items()
    }


def _how(edge: Edge) -> str:
    calls = calls_of(edge)
    parts: list[str] = [edge.protocol if edge.mode == "call" else "published"]
    items = min(edge.count, edge.batch)
    parts.append(f"{calls} {_plural('call', calls)} of {items} {_plural('item', items)}")
    if calls > 1:
        bound = edge.max_parallel
        at_once = "all at once" if bound is None else f"{bound} at once"
        parts.append("one by one" if bound == 1 else at_once)
    if edge.limits:
        parts.append(f"at most {min(limit.max for limit in edge.limits)} in flight")
    if edge.hedge is not None:
        parts.append(f"hedged after {HEDGE_DELAY.write(edge.hedge.after_ns)}")
    if edge.cache is not None:
        kept = "" if edge.cache.ttl_ns is None else f" for {DURATION.write(edge.cache.ttl_ns)}"
        parts.append(f"answers kept by the {edge.cache.scope}{kept}")
    return ", ".join(parts)


def _counted(ways: list[str]) -> list[str]:
    counts = {way: ways.count(way) for way in ways}
    return [way if number == 1 else f"{number} × ({way})" for way, number in counts.items()]


def _plural(noun: str, number: int) -> str:
    return noun if number == 1 else f"{noun}s"


def _steps(before: Scenario, after: Scenario) -> tuple[StepsChange, ...]:
    new = {(s.name, o.name): o for s, o in operations(after)}
    changes = []
    for service, old in operations(before):
        now = new.get((service.name, old.name))
        if now is not None and now != old:
            lines = ndiff(_written(service.name, old), _written(service.name, now))
            changes.append(
                StepsChange(
                    service.name,
                    old.name,
                    tuple(line.rstrip() for line in lines if not line.startswith("?")),
                )
            )
    return tuple(changes)


def _services(before: Scenario, after: Scenario) -> Iterator[str]:
    for name, service in before.services.items():
        old, new = (written(_OF_SERVICE, side) for side in (service, after.services[name]))
        for key in old:
            if old[key] != new[key]:
                yield f"{name}: {key} {old[key]}, now {new[key]}"


def _faults(before: Scenario, after: Scenario) -> Iterator[str]:
    kept = {fault.id for fault in after.faults}
    for fault in before.faults:
        if fault.id not in kept:
            yield f"the fault {fault.id} does not happen"


def _gone(before: Scenario, after: Scenario) -> Iterator[str]:
    merged = {
        (s.name, o.name, step.id)
        for s, o in operations(after)
        for step in walk(o.steps)
        if isinstance(step, Merged)
    }
    for service, operation in operations(before):
        for step in walk(operation.steps):
            if isinstance(step, Talk) and (service.name, operation.name, step.id) in merged:
                lost = [*_lost(before, service.name, operation.name, step.edge)]
                if lost:
                    to = step.edge.target
                    edge = f"{service.name}.{operation.name}->{to}"
                    yield f"{edge}: gone with the call: {', '.join(lost)}"


def _lost(scenario: Scenario, caller: str, operation: str, edge: Edge) -> Iterator[str]:
    said = written_options(edge)
    yield from (option for option in ("timeout", "retry", "hedge", "bound") if option in said)
    to = edge.target
    workers = scenario.services[to.service].max_concurrent
    if workers is not None:
        yield f"{to.service}'s limit of {workers} at once"
    for fault in scenario.faults:
        scope = fault.scope
        if (
            scope.service in (None, to.service)
            and scope.operation in (None, to.operation)
            and scope.caller in (None, caller)
            and scope.caller_operation in (None, operation)
        ):
            yield f"the fault {fault.id}"


def _hasty(before: Scenario, after: Scenario) -> Iterator[str]:
    """Messages that no longer wait for what ran before them, and may have decided them."""
    old = {(s.name, o.name): o.steps for s, o in operations(before)}
    for service, operation in operations(after):
        messages = [step for step in walk(operation.steps) if isinstance(step, Publish)]
        sent = {origin.step for step in messages for origin in step.edge.origins}
        was = dict(_ahead(old.get((service.name, operation.name), ()), sent, {}))
        now = dict(_ahead(operation.steps, sent, {}))
        for step in messages:
            names = [origin.step for origin in step.edge.origins]
            waited = ((i, name) for name in names for i in was.get(name, {}))
            # What was joined leaves together.
            gone = {i: None for i, name in waited if i not in now[name] and i not in names}
            if gone:
                yield (
                    f"{service.name}.{operation.name}: the message {step.edge.target} no longer "
                    f"waits for {', '.join(gone)}; where one of them decides it, say so with after"
                )


Ids = Mapping[str, None]
"""In order."""


def _ahead(
    steps: Steps, sent: Collection[str], done: Ids, *, in_turn: bool = True
) -> Iterator[tuple[str, Ids]]:
    """Each of ``sent`` that is below, and the steps that have ended when its items are sent."""
    if not sent:
        return
    before = dict(done)
    ended: dict[str, Ids] = {}
    for step in steps:
        here = before if in_turn else {**done, **_union(ended[i] for i in step.after if i in ended)}
        for name in _named(step):
            if name in sent:
                yield name, dict(here)
        for block in step.blocks:
            yield from _ahead(block, sent, here, in_turn=step.at_once == 1)
        own = _union(dict.fromkeys(_named(inner)) for inner in walk((step,)))
        if in_turn:
            before |= own
        else:
            ended[step.id] = {**here, **own}


def _union(parts: Iterable[Ids]) -> dict[str, None]:
    return {i: None for part in parts for i in part}


def _named(step: Step) -> list[str]:
    """The step as chance knows it; a joined one is those that it stands for."""
    if isinstance(step, Talk | Merged):
        return [origin.step for origin in step.edge.origins]
    return [] if step.blocks else [step.id]


def _written(service: str, operation: Operation) -> list[str]:
    place = WritePlace(service, operation.name, "", write_steps)
    text: str = yaml.safe_dump(
        write_steps(place, operation.steps), sort_keys=False, default_flow_style=None, width=1000
    )
    return text.splitlines()
