"""Static checks, in one pure pass over frozen values. Nothing runs that an error is found in.

Errors:

- every target of a step, an entry, a fault and an expectation names something that exists, and an
  edge that a fault or an expectation names is called;
- calls and publishes form no cycle: synchronous ones never return, messages never end;
- step ids are unique, and every ``after`` names an earlier step of the same list;
- a call has mode ``call``, a publish mode ``publish`` over Kafka; only calls that are not over
  Kafka are hedged, and only where the callee has another replica;
- counts, batches, replicas, bounds and times are at least 1, weights and rates above zero,
  probabilities in 0..1; the origins of an edge add up to its count;
- no two services, and no two operations of one, have the same gRPC name.

Warnings: what no request reaches; more declared work than the replicas have cores; more requests
at once than the worker limits admit; replicas that no partition is left for; faults that begin
after the end; pauses where services share processes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from services.scenario.capacity import shape, worst_calls
from services.scenario.graph import callees, ordered, reached
from services.scenario.limits import MAX_ARRIVALS, MAX_CALLS
from services.scenario.model import (
    Edge,
    Expectation,
    Fault,
    Load,
    Scenario,
    Step,
    Steps,
    Target,
)
from services.scenario.names import camel
from services.scenario.pace import Closed, Open, Replay
from services.scenario.packing import packed
from services.scenario.protocols import PROTOCOLS
from services.scenario.steps.calls import Call, Talk
from services.scenario.steps.merged import Merged
from services.scenario.text.edges import KAFKA
from services.scenario.text.reader import did_you_mean
from services.scenario.text.units import time_text
from services.scenario.tree import operations, walk

_IDLE_NS = 1_000_000_000
BUSY = 0.8
"""Declared work above this share of the cores is warned of: queues grow steeply from there."""


@dataclass(frozen=True, slots=True)
class Problem:
    severity: Literal["error", "warning"]
    text: str
    at: tuple[str, ...]
    """Where: ``("step", id)``, ``("service", name)``, ``("operation", service, name)``,
    ``("entry", number)``, ``("fault", id)``, ``("expectation", variant or "", number)``,
    ``("variant", name)`` or ``("load",)``. parse.Loaded.lines has the line of each."""
    hint: str | None = None


def validate(scenario: Scenario) -> tuple[Problem, ...]:
    """Errors first; warnings only where there are no errors."""
    return errors(scenario) or tuple(_warnings(scenario))


def errors(scenario: Scenario) -> tuple[Problem, ...]:
    """Without the warnings, which take longer."""
    return tuple(_errors(scenario)) or tuple(_too_much(scenario))


def _too_much(scenario: Scenario) -> Iterator[Problem]:
    """For a scenario without other errors: only its calls can be counted."""
    worst = worst_calls(scenario)
    if worst > MAX_CALLS:
        text = f"one request makes {worst:,.7g} calls at worst; the most is {MAX_CALLS:,}"
        yield _error(text, "load", hint="counts, repeats and fan-outs multiply along the way")


def _too_many(load: Load) -> Problem | None:
    """Where a round would have more requests than can be scheduled beforehand."""
    number = load.requests
    if number <= MAX_ARRIVALS:
        return None
    text = f"a round of {number:,.12g} requests; the most is {MAX_ARRIVALS:,}"
    return _error(text, "load", hint="give a lower rate, or a shorter duration")


def load_problem(load: Load) -> Problem | None:
    """Where what comes in does not go with how long it comes, or is too much."""
    match load.pace:
        case Open(_, rate, ramp):
            if not rate > 0 or math.isinf(rate):
                return _error("the rate must be more than zero", "load", hint="for example 50/s")
            ramped = sum(stage.over_ns for stage in ramp)
            if ramped > load.duration_ns:
                text = f"the ramp takes {time_text(ramped)}, longer than the duration"
                return _error(text, "load", hint=f"give a duration of {time_text(ramped)} or more")
        case Replay(at_ns):
            if at_ns[-1] < load.warmup_ns:
                text = f"the recording ends after {time_text(at_ns[-1])}, within the warm-up"
                return _error(text, "load", hint="give a shorter warm-up")
            if not load.pace.measured(load.warmup_ns, load.duration_ns):
                text = "no arrival of the recording lies in the measured phase"
                return _error(text, "load", hint="give another warm-up, or a longer duration")
        case Closed(users):
            if users > load.max_in_flight:
                text = f"{users} users may have as many requests in flight; max_in_flight is "
                return _error(text + str(load.max_in_flight), "load", hint="raise max_in_flight")
            kafka = {entry.protocol == "kafka" for entry in load.entries}
            if len(kafka) > 1:
                text = "users of a closed load cannot choose between Kafka and other entries"
                hint = "the two are sent by processes of their own: give entries of one kind"
                return _error(text, "load", hint=hint)
    return _too_many(load)


def _errors(scenario: Scenario) -> Iterator[Problem]:
    names = _Names(scenario)
    yield from _grpc_names(scenario)
    ids: set[str] = set()
    for _, operation in operations(scenario):
        yield from _order(operation.steps)
        merged = {
            inner
            for step in walk(operation.steps)
            if isinstance(step, Merged)
            for inner in map(id, walk(step.steps))
        }
        for step in walk(operation.steps):
            # A callee's steps keep their ids wherever they are merged.
            if id(step) not in merged:
                if step.id in ids:
                    yield _error(f"the id {step.id!r} is given twice", "step", step.id)
                ids.add(step.id)
            yield from _step(scenario, names, step)
    for service in scenario.services.values():
        if service.replicas < 1 or (service.max_concurrent or 1) < 1:
            text = f"{service.name} needs at least one replica and one worker"
            yield _error(text, "service", service.name)
    yield from _load(scenario, names)
    for fault in scenario.faults:
        yield from _fault(scenario, names, fault)
    yield from _expectations(names, "", scenario.expectations)
    for variant in scenario.variants.values():
        yield from _expectations(names, variant.name, variant.expectations or ())
    _, cycle = ordered(callees(scenario))
    if cycle is not None:
        yield _error(
            f"a cycle of calls: {' -> '.join(map(str, cycle.operations))}",
            "step",
            cycle.step,
            hint="a request would never end",
        )


class _Names:
    """What exists in a scenario, and the hint for what does not."""

    def __init__(self, scenario: Scenario) -> None:
        self.services = scenario.services
        self.targets = {Target(s.name, o.name) for s, o in operations(scenario)}
        self.edges = {
            (s.name, o.name, step.edge.target)
            for s, o in operations(scenario)
            for step in walk(o.steps)
            if isinstance(step, Talk)
        }

    def missing(self, target: Target) -> tuple[str, str | None] | None:
        """Text and hint, where the target does not exist."""
        if target in self.targets:
            return None
        service = self.services.get(target.service)
        if service is None:
            return f"there is no service {target.service!r}", self._closest(target)
        known = ", ".join(service.operations)
        return (
            f"{target.service} has no operation {target.operation!r}",
            did_you_mean(target.operation, service.operations) or f"it has {known}",
        )

    def no_service(self, name: str) -> tuple[str, str | None] | None:
        if name in self.services:
            return None
        known = f"services: {', '.join(self.services)}"
        return f"there is no service {name!r}", did_you_mean(name, self.services) or known

    def _closest(self, target: Target) -> str | None:
        known = [str(t) for t in self.targets]
        return did_you_mean(str(target), known) or f"services: {', '.join(self.services)}"


def _error(text: str, *at: str, hint: str | None = None) -> Problem:
    return Problem("error", text, at, hint)


def _warning(text: str, *at: str, hint: str | None = None) -> Problem:
    return Problem("warning", text, at, hint)


def _grpc_names(scenario: Scenario) -> Iterator[Problem]:
    seen: dict[str, str] = {}
    for service in scenario.services.values():
        other = seen.setdefault(camel(service.name), service.name)
        if other != service.name:
            text = f"{service.name} and {other} are both {camel(service.name)} over gRPC"
            yield _error(text, "service", service.name)
        inside: dict[str, str] = {}
        for name in service.operations:
            other = inside.setdefault(camel(name), name)
            if other != name:
                text = f"{service.name}: {name} and {other} are both {camel(name)} over gRPC"
                yield _error(text, "operation", service.name, name)


def _order(steps: Steps) -> Iterator[Problem]:
    earlier: list[str] = []
    for step in steps:
        for name in step.after:
            if name not in earlier:
                known = f"earlier here: {', '.join(earlier)}" if earlier else None
                yield _error(
                    f"{step.id!r} is after {name!r}, which is no earlier step of the same list",
                    "step",
                    step.id,
                    hint=did_you_mean(name, earlier) or known,
                )
        earlier.append(step.id)
        for block in step.blocks:
            yield from _order(block)


def _step(scenario: Scenario, names: _Names, step: Step) -> Iterator[Problem]:
    if step.wrong is not None:
        yield _error(step.wrong, "step", step.id)
    if isinstance(step, Talk):
        missing = names.missing(step.edge.target)
        if missing is not None:
            yield _error(missing[0], "step", step.id, hint=missing[1])
        yield from _edge(scenario, step, step.edge)


def _edge(scenario: Scenario, step: Talk, edge: Edge) -> Iterator[Problem]:
    mode = "call" if isinstance(step, Call) else "publish"
    if edge.mode != mode or (mode == "publish" and edge.protocol != "kafka"):
        text = f"{step.id} is a {mode}, but its edge a {edge.mode} over {edge.protocol}"
        yield _error(text, "step", step.id)
    for what, value in (
        ("count", edge.count),
        ("batch", edge.batch),
        ("max_parallel", edge.max_parallel),
        ("key.distinct", edge.key_distinct),
        ("kafka.partitions", edge.kafka.partitions),
        ("timeout", edge.timeout_ns),
    ):
        if value is not None and value < 1:
            yield _error(f"{what} of {step.id} is {value}; the least is 1", "step", step.id)
    if not 0 <= edge.probability <= 1:
        text = f"the probability of {step.id} is {edge.probability}, not in 0..1"
        yield _error(text, "step", step.id)
    if sum(origin.count for origin in edge.origins) != edge.count:
        yield _error(f"the origins of {step.id} do not add up to its count", "step", step.id)
    if edge.hedge is not None:
        callee = scenario.services.get(edge.target.service)
        if edge.protocol == "kafka":
            text = f"{step.id} is hedged over Kafka, and a topic has no other replica to ask"
            yield _error(text, "step", step.id)
        elif callee is not None and callee.replicas < 2:
            text = f"{step.id} is hedged, and {callee.name} has one replica"
            hint = f"give {callee.name} replicas: 2 or more"
            yield _error(text, "step", step.id, hint=hint)


def _load(scenario: Scenario, names: _Names) -> Iterator[Problem]:
    load = scenario.load
    if not load.entries:
        yield _error("load has no entry", "load")
    if load.duration_ns < 1 or load.warmup_ns < 0:
        text = "the duration must be more than zero, the warm-up not less"
        yield _error(text, "load", hint="for example duration: 10s, warmup: 5s")
    elif (wrong := load_problem(load)) is not None:
        yield wrong
    if load.max_in_flight < 1:
        yield _error("max_in_flight must be at least 1", "load")
    for number, entry in enumerate(load.entries):
        missing = names.missing(entry.target)
        if missing is not None:
            yield _error(missing[0], "entry", str(number), hint=missing[1])
        if not entry.weight > 0 or entry.timeout_ns < 1:
            text = "weight and timeout of an entry must be more than zero"
            yield _error(text, "entry", str(number))


def _fault(scenario: Scenario, names: _Names, fault: Fault) -> Iterator[Problem]:
    scope = fault.scope
    at = ("fault", fault.id)
    if not 0 <= fault.probability <= 1:
        yield _error(f"{fault.id}: a probability of {fault.probability}", *at)
    service = scenario.services.get(scope.service) if scope.service is not None else None
    if scope.service is not None and (missing := names.no_service(scope.service)) is not None:
        yield _error(missing[0], *at, hint=missing[1])
        return
    if scope.operation is not None:
        known = {t.operation for t in names.targets if scope.service in (None, t.service)}
        if scope.operation not in known:
            hint = did_you_mean(scope.operation, known) or f"operations: {', '.join(sorted(known))}"
            yield _error(f"there is no operation {scope.operation!r}", *at, hint=hint)
            return
    if scope.replica is not None and service is not None and scope.replica >= service.replicas:
        text = f"{service.name} has no replica {scope.replica}"
        yield _error(text, *at, hint=f"replicas count from 0 to {service.replicas - 1}")
    if scope.caller is not None and not any(
        caller == scope.caller
        and scope.caller_operation in (None, operation)
        and scope.service in (None, target.service)
        and scope.operation in (None, target.operation)
        for caller, operation, target in names.edges
    ):
        yield _error(f"{scope.caller} never calls {scope.service}.{scope.operation}", *at)


def _expectations(
    names: _Names, variant: str, expectations: Iterable[Expectation]
) -> Iterator[Problem]:
    for number, expectation in enumerate(expectations):
        where = expectation.where
        for text, hint in filter(None, _where(names, dict(where))):
            yield _error(
                f"{expectation.kind}: {text}", "expectation", variant, str(number), hint=hint
            )


def _where(names: _Names, where: dict[str, str]) -> Iterator[tuple[str, str | None] | None]:
    for service_key, operation_key in (("caller", "caller_operation"), ("callee", "operation")):
        service, operation = where.get(service_key), where.get(operation_key)
        if service is not None and operation is not None:
            yield names.missing(Target(service, operation))
        elif service is not None:
            yield names.no_service(service)
        elif operation is not None and operation not in {t.operation for t in names.targets}:
            yield f"there is no operation {operation!r}", None
    if where.get("protocol") not in (None, *PROTOCOLS):
        hint = f"protocols: {', '.join(PROTOCOLS)}"
        yield f"there is no protocol {where['protocol']!r}", hint
    if (instance := where.get("instance")) is not None:
        name, slash, replica = instance.partition("/")
        if (missing := names.no_service(name)) is not None:
            yield missing
        elif not slash or not replica.isdecimal() or int(replica) >= names.services[name].replicas:
            yield f"there is no instance {instance!r}", "write service/replica, counted from 0"


def _warnings(scenario: Scenario) -> Iterator[Problem]:
    found = reached(scenario, callees(scenario))
    for service in scenario.services.values():
        if not any(Target(service.name, o) in found for o in service.operations):
            yield _warning(f"no request reaches {service.name}", "service", service.name)
            continue
        for name in service.operations:
            if Target(service.name, name) not in found:
                text = f"no request reaches {service.name}.{name}"
                yield _warning(text, "operation", service.name, name)
    yield from _capacity(scenario)
    yield from _partitions(scenario)
    yield from _arrivals(scenario.load)
    for fault in scenario.faults:
        if fault.from_ns is not None and fault.from_ns >= scenario.load.duration_ns:
            yield _warning(f"{fault.id} begins after the measured phase ends", "fault", fault.id)
        if fault.kind == "pause" and packed(scenario):
            text = f"{fault.id} pauses every service of a process, since services share them"
            yield _warning(text, "fault", fault.id, hint="leave out `processes`")


def _arrivals(load: Load) -> Iterator[Problem]:
    if isinstance(load.pace, Replay) and (left := load.length_ns - load.pace.at_ns[-1]) > _IDLE_NS:
        text = f"the recording ends {left / 1e9:,.1f} s before the measured phase does"
        yield _warning(text, "load", hint="give a shorter duration")
    if isinstance(load.pace, Open) and load.pace.measured(load.warmup_ns, load.duration_ns) < 1:
        text = "less than one request is to be expected in the measured phase"
        yield _warning(text, "load", hint="give a higher rate, or a longer duration")


def overloads(scenario: Scenario, busy: float = 1.0) -> tuple[str, ...]:
    """What is asked for more than it can do, in the warnings' words; ``busy``: or for more than so
    much of its cores."""
    return tuple(problem.text for problem in _capacity(scenario, busy))


def _capacity(scenario: Scenario, busy: float = BUSY) -> Iterator[Problem]:
    for name, demand in shape(scenario).demand.items():
        service = scenario.services[name]
        if demand.cpu_cores > busy * service.replicas:
            yield _warning(
                f"{name} is asked for {demand.cpu_cores:.2f} cores of work, and its "
                + ("replica has" if service.replicas == 1 else f"{service.replicas} replicas have")
                + " one"
                + ("" if service.replicas == 1 else " each"),
                "service",
                name,
                hint="lower the rate or the work, or add replicas",
            )
        if service.max_concurrent is not None:
            limit = service.max_concurrent * service.replicas
            if demand.busy > limit:
                yield _warning(
                    f"{name} has {demand.busy:.1f} requests at once to handle, and admits {limit}",
                    "service",
                    name,
                    hint="raise workers or replicas, or lower the rate",
                )


def _partitions(scenario: Scenario) -> Iterator[Problem]:
    asked: dict[Target, int] = {}
    for _, operation in operations(scenario):
        for step in walk(operation.steps):
            if not isinstance(step, Talk) or step.edge.protocol != "kafka":
                continue
            target, partitions = step.edge.target, step.edge.kafka.partitions
            if asked.setdefault(target, partitions) != partitions:
                text = f"{target} is asked to have {asked[target]} and {partitions} partitions"
                yield _warning(text, "step", step.id)
            elif scenario.services[target.service].replicas > partitions:
                text = f"{target} has {partitions} partitions, fewer than replicas: some stay idle"
                yield _warning(text, "step", step.id)
    for number, entry in enumerate(scenario.load.entries):
        there = max(KAFKA.partitions, asked.get(entry.target, 1))
        replicas = scenario.services[entry.target.service].replicas
        if entry.protocol == "kafka" and replicas > there and entry.target not in asked:
            text = f"{entry.target} has {there} partitions, fewer than replicas: some stay idle"
            yield _warning(text, "entry", str(number))
