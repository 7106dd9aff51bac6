"""What a scenario asks of its services, worked out before anything runs.

Exact where nothing is drawn; with probabilities and choices, ``worst`` takes the most expensive
outcome, fallbacks among them, and ``mean`` the expected one. Retries, hedges, errors and faults are
left out, and so is what a hop itself costs: these are the figures the scenario declares, not a
prediction.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import exp, inf, lgamma, log, log1p, sqrt
from typing import NamedTuple

from services.scenario.graph import callees, ordered
from services.scenario.model import Edge, Protocol, Scenario, Step, Steps, Target
from services.scenario.steps.calls import Call, Publish, Talk
from services.scenario.steps.merged import Merged
from services.scenario.tree import operations, walk


@dataclass(frozen=True, slots=True)
class Demand:
    """Of one service, at the offered rate, on average."""

    calls_per_s: float
    cpu_cores: float
    """CPU seconds a second that its ``work`` declares, over all replicas."""
    busy: float
    """Requests being handled at once, over all replicas (Little's law on declared times)."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The entry's own request is no call; a batch is one."""

    calls_worst: int
    """Calls and publishes that one request can cause."""
    calls_mean: float
    depth: int
    """Synchronous calls on the longest way from an entry, or from a message's consumer."""
    fan_out: int
    """The most calls that one handler can have in flight at once."""
    hops_per_s: float | None
    """Calls and publishes a second at the highest rate, entries not counted; None for a closed
    load, which asks as much as is answered."""
    demand: Mapping[str, Demand]
    """By service; empty for a closed load."""


class EdgeKey(NamedTuple):
    """An edge as analyzers tell edges apart."""

    caller: str
    caller_operation: str
    callee: str
    operation: str
    protocol: Protocol

    def __str__(self) -> str:
        return f"{self.caller}.{self.caller_operation}->{self.callee}.{self.operation}"


@dataclass(frozen=True, slots=True)
class _Linear:
    """``fixed + per_item * items``, for a call that carries ``items``."""

    fixed: float = 0.0
    per_item: float = 0.0

    def at(self, items: float) -> float:
        return self.fixed + self.per_item * items

    def __add__(self, other: _Linear) -> _Linear:
        return _Linear(self.fixed + other.fixed, self.per_item + other.per_item)

    def __mul__(self, factor: float) -> _Linear:
        return _Linear(self.fixed * factor, self.per_item * factor)

    def most(self, other: _Linear) -> _Linear:
        return _Linear(max(self.fixed, other.fixed), max(self.per_item, other.per_item))


_NOTHING = _Linear()
Of = dict[Target, _Linear]


def shape(scenario: Scenario) -> Shape:
    """For a scenario that :func:`services.scenario.file.validation.validate` finds no error in."""
    order, cycle = ordered(callees(scenario))
    if cycle is not None:
        raise ValueError("a scenario with a cycle has no shape")
    worst: Of = {}
    mean: Of = {}
    wait: Of = {}
    depth: dict[Target, int] = {}
    fan_out: dict[Target, int] = {}
    for operation in reversed(order):
        steps = scenario.services[operation.service].operations[operation.operation].steps
        worst[operation] = _sum(_calls(step, worst, expected=False) for step in steps)
        mean[operation] = _sum(_calls(step, mean, expected=True) for step in steps)
        wait[operation] = _sum(_time(step, wait) for step in steps)
        depth[operation] = max((_depth(step, depth) for step in steps), default=0)
        fan_out[operation] = max(map(in_flight, steps), default=0)
    visits, items = _traffic(scenario, order)
    entries = [entry.target for entry in scenario.load.entries]
    begins = {*entries, *_consumers(scenario, visits)}
    weight = sum(entry.weight for entry in scenario.load.entries)
    rate_rps = scenario.load.pace.peak_rps
    calls_mean = sum(e.weight * mean[e.target].at(1) for e in scenario.load.entries) / weight
    return Shape(
        calls_worst=round(max(worst[entry].at(1) for entry in entries)),
        calls_mean=calls_mean,
        depth=max(depth[operation] for operation in begins),
        fan_out=max(most for operation, most in fan_out.items() if visits[operation]),
        hops_per_s=None if rate_rps is None else calls_mean * rate_rps,
        demand={}
        if rate_rps is None
        else _demand(scenario, _times(visits, rate_rps), _times(items, rate_rps), wait),
    )


def _consumers(scenario: Scenario, visits: Mapping[Target, float]) -> Iterator[Target]:
    """Operations that messages of reached operations go to."""
    for service, operation in operations(scenario):
        if visits[Target(service.name, operation.name)]:
            for step in walk(operation.steps):
                if isinstance(step, Publish):
                    yield step.edge.target


def worst_calls(scenario: Scenario) -> float:
    """What :attr:`Shape.calls_worst` is; infinite where that is beyond counting."""
    order, cycle = ordered(callees(scenario))
    if cycle is not None:
        raise ValueError("a scenario with a cycle has no calls to count")
    worst: Of = {}
    for operation in reversed(order):
        steps = scenario.services[operation.service].operations[operation.operation].steps
        worst[operation] = _sum(_calls(step, worst, expected=False) for step in steps)
    return max(worst[entry.target].at(1) for entry in scenario.load.entries)


def calls_by_edge(scenario: Scenario) -> dict[EdgeKey, float]:
    """Expected calls (and publishes) over each edge for a request, whichever entry it takes."""
    order, cycle = ordered(callees(scenario))
    if cycle is not None:
        raise ValueError("a scenario with a cycle has no calls to count")
    visits, items = _traffic(scenario, order)
    found: dict[EdgeKey, float] = defaultdict(float)
    for service, operation in operations(scenario):
        at = Target(service.name, operation.name)
        for step, runs, _ in _runs(operation.steps, visits[at], items[at]):
            if isinstance(step, Talk):
                to = step.edge.target
                key = EdgeKey(
                    service.name, operation.name, to.service, to.operation, step.edge.protocol
                )
                found[key] += runs * _expected_calls(step.edge)
    return dict(found)


def calls_of(edge: Edge) -> int:
    """Calls that the edge makes when every item takes part."""
    return -(-edge.count // edge.batch)


def _expected_calls(edge: Edge) -> float:
    if edge.probability in (0, 1) or edge.batch == 1:
        return calls_of(edge) * edge.probability
    # Batches are filled with the items that take part.
    parts = _binomial(edge.count, edge.probability)
    return sum(-(-items // edge.batch) * chance for items, chance in parts)


def _binomial(n: int, p: float) -> Iterator[tuple[int, float]]:
    """How many of ``n`` take part, each with ``p`` (0 < p < 1), and the chance that so many do.
    What lies twelve standard deviations off is left out."""
    off = 12 * sqrt(n * p * (1 - p)) + 30
    least, most = max(0, int(n * p - off)), min(n, int(n * p + off))
    odds = log(p) - log1p(-p)
    chance = lgamma(n + 1) - lgamma(least + 1) - lgamma(n - least + 1)
    chance += least * log(p) + (n - least) * log1p(-p)
    for k in range(least, most + 1):
        yield k, exp(chance)
        if k < n:
            chance += log((n - k) / (k + 1)) + odds


def _calls(step: Step, below: Of, *, expected: bool) -> _Linear:
    """Calls caused by the step, itself included, for each run of its operation."""
    blocks = [_sum(_calls(s, below, expected=expected) for s in block) for block in step.blocks]
    if isinstance(step, Talk | Merged):
        edge = step.edge
        calls = _expected_calls(edge) if expected else calls_of(edge)
        items = edge.count * edge.probability if expected else edge.count
        if isinstance(step, Talk):
            callee = below.get(edge.target, _NOTHING) + _Linear(1)
        else:
            callee, *blocks = blocks
        found = _Linear(calls * callee.fixed + items * callee.per_item)
        if not expected:
            found += _sum(blocks)
    elif step.one_of and not expected:
        found = _most(blocks)
    else:
        found = _shared(step, blocks)
    return _as_run(step, found)


def _time(step: Step, below: Of) -> _Linear:
    """Declared ns of waiting and work of the step, for each run of its operation."""
    blocks = []
    for block in step.blocks:
        times = [_time(s, below) for s in block]
        at_once = min(step.at_once or inf, max(len(times), 1))
        blocks.append(_most([*times, _sum(times) * (1 / at_once)]))
    if not isinstance(step, Call | Merged):
        return _as_run(step, _Linear(*step.time_ns) + _shared(step, blocks))
    edge = step.edge
    calls = _expected_calls(edge)
    rounds = calls / min(edge.max_parallel or inf, max(calls, 1))
    items = edge.count * edge.probability / calls if calls else 0
    callee = blocks[0] if isinstance(step, Merged) else below.get(edge.target, _NOTHING)
    return _as_run(step, _Linear(rounds * callee.at(items)))


def _depth(step: Step, below: Mapping[Target, int]) -> int:
    if isinstance(step, Talk):
        return 1 + below.get(step.edge.target, 0) if isinstance(step, Call) else 0
    return max((_depth(s, below) for block in step.blocks for s in block), default=0)


def in_flight(step: Step) -> int:
    """The most calls that the step itself has under way at once."""
    if isinstance(step, Talk):
        calls = calls_of(step.edge)
        limits = (limit.max for limit in step.edge.limits)
        return min(calls, step.edge.max_parallel or calls, *limits)
    most = max(
        (sum(sorted(map(in_flight, block), reverse=True)[: step.at_once]) for block in step.blocks),
        default=0,
    )
    if isinstance(step, Merged):
        return most * min(calls_of(step.edge), step.edge.max_parallel or calls_of(step.edge))
    return most


def _times(numbers: Mapping[Target, float], factor: float) -> Mapping[Target, float]:
    return defaultdict(float, {target: number * factor for target, number in numbers.items()})


def _traffic(
    scenario: Scenario, order: list[Target]
) -> tuple[Mapping[Target, float], Mapping[Target, float]]:
    """Calls for a request that reach each operation, and the items they carry."""
    visits: dict[Target, float] = defaultdict(float)
    items: dict[Target, float] = defaultdict(float)
    weight = sum(entry.weight for entry in scenario.load.entries)
    for entry in scenario.load.entries:
        share = entry.weight / weight
        visits[entry.target] += share
        items[entry.target] += share
    for operation in order:
        steps = scenario.services[operation.service].operations[operation.operation].steps
        for step, runs, _ in _runs(steps, visits[operation], items[operation]):
            if isinstance(step, Talk):
                visits[step.edge.target] += runs * _expected_calls(step.edge)
                items[step.edge.target] += runs * step.edge.count * step.edge.probability
    return visits, items


def _runs(steps: Steps, runs: float, items: float) -> list[tuple[Step, float, float]]:
    """Each step below with how often it runs, and how many items those runs see, in a second."""
    found: list[tuple[Step, float, float]] = []
    for step in steps:
        often = items if step.per_item else runs
        found.append((step, often, items))
        if isinstance(step, Merged):
            edge = step.edge
            carried = often * edge.count * edge.probability
            found += _runs(step.steps, often * _expected_calls(edge), carried)
            continue
        for block, share in zip(step.blocks, step.shares, strict=True):
            if share:
                found += _runs(block, often * share, items * share)
    return found


def _demand(
    scenario: Scenario,
    visits: Mapping[Target, float],
    items: Mapping[Target, float],
    wait: Of,
) -> dict[str, Demand]:
    demand = {}
    for service in scenario.services.values():
        calls = cpu = busy = 0.0
        for operation in service.operations.values():
            target = Target(service.name, operation.name)
            calls += visits[target]
            busy += visits[target] * wait[target].fixed + items[target] * wait[target].per_item
            for step, runs, carried in _runs(operation.steps, visits[target], items[target]):
                fixed, per_item = step.cpu_ns
                cpu += runs * fixed + carried * per_item
        demand[service.name] = Demand(calls, cpu / 1e9, busy / 1e9)
    return demand


def _as_run(step: Step, found: _Linear) -> _Linear:
    """A step run for every item: what it does for one, times the items carried."""
    return _Linear(0.0, found.at(1)) if step.per_item else found


def _shared(step: Step, blocks: list[_Linear]) -> _Linear:
    """What the step's blocks come to, as often as each runs."""
    return _sum(found * share for found, share in zip(blocks, step.shares, strict=True))


def _sum(parts: Iterable[_Linear]) -> _Linear:
    total = _NOTHING
    for part in parts:
        total += part
    return total


def _most(parts: Iterable[_Linear]) -> _Linear:
    most = _NOTHING
    for part in parts:
        most = most.most(part)
    return most
