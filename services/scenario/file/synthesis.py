"""Scenarios of many services, made from a few figures: what one process, and one's own tools, bear.

Three shapes of call graph, each the same for the same number, shape and seed:

- ``tree``: every service is called by one other; a request visits all of them;
- ``layers``: a few entry services, three times as many below, and so on; a service calls some of
  the next layer, and every service of that is called by one at least;
- ``mesh``: a service calls some of those with higher numbers, near or far; those that nobody calls
  are entries.

A request of a layered or meshed scenario makes at most ``WORST_CALLS`` calls. The rate is one that
half a core can carry, so that the figures are not those of a queue.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, Final, Literal

import yaml

from services.scenario.limits import MAX_CALLS

Shape = Literal["tree", "mesh", "layers"]
Calls = list[list[int]]
"""By service: those it calls, each with a higher number than its own."""

MAX_SERVICES: Final = 10_000
WORST_CALLS: Final = 200
FAN_OUT: Final = 4
DEPTH: Final = 8
"""Calls, one within the other, of a meshed scenario."""
PACKED_FROM: Final = 25
"""So many services still have a process each."""
_OF_PROCESS: Final = 250
_FEWEST: Final = 2
"""Processes that services are packed into: one would leave a core idle."""
_CORES: Final = 0.5
_HOP_S: Final = 0.001
"""CPU time of a call at both ends, tracing included, in processes that are packed."""
_MOST_RPS: Final = 50.0
_REQUESTS: Final = 20
"""In the measured phase, at least."""
_DURATION_S: Final = 8.0

_DUMPER: Final = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def generate(services: int, shape: Shape, seed: int) -> str:
    """The scenario as YAML. Raises ValueError for a number that is not in 1..MAX_SERVICES."""
    if not 1 <= services <= MAX_SERVICES:
        raise ValueError(f"from 1 to {MAX_SERVICES:,} services")
    chance = random.Random(f"{shape}:{services}:{seed}")
    calls = SHAPES[shape](services, chance)
    called = {callee for callees in calls for callee in callees}
    entries = [number for number in range(services) if number not in called]
    names = [f"svc-{number + 1:04d}" for number in range(services)]
    document: dict[str, Any] = {
        "version": 1,
        "name": f"{shape}-{services}",
        "description": f"{services} services, a generated {shape} (seed {seed}).",
        "seed": seed,
    }
    if services >= PACKED_FROM:
        document["processes"] = max(_FEWEST, -(-services // _OF_PROCESS))
    document["services"] = {
        name: {"operations": {"get": _steps([names[callee] for callee in callees], chance)}}
        for name, callees in zip(names, calls, strict=True)
    }
    document["load"] = _load(calls, entries, names)
    text: str = yaml.dump(document, Dumper=_DUMPER, sort_keys=False, width=100)
    return text


def _steps(callees: list[str], chance: random.Random) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = [{"work": f"{chance.randint(2, 10) * 10}us"}]
    calls = [{"call": f"{name}.get"} for name in callees]
    if len(calls) > 1 and chance.random() < 0.75:
        return [*steps, {"parallel": calls}]
    if not calls:
        steps.append({"sleep": f"{chance.randint(5, 20) * 100}us"})
    return steps + calls


def _load(calls: Calls, entries: list[int], names: list[str]) -> dict[str, Any]:
    worst = worst_calls(calls)
    mean = sum(worst[entry] for entry in entries) / len(entries)
    rate = min(_MOST_RPS, _CORES / ((mean + 1) * _HOP_S))
    # Two digits are enough, and read well.
    rate = float(f"{rate:.2g}")
    duration_s = max(_DURATION_S, -(-_REQUESTS // rate))
    return {
        "rate": f"{rate:g}/s",
        "duration": f"{duration_s:g}s",
        "warmup": "2s",
        "entries": [{"call": f"{names[entry]}.get", "timeout": "60s"} for entry in entries],
    }


def worst_calls(calls: Calls) -> list[int]:
    """By service: the calls that a request to it makes."""
    worst = [0] * len(calls)
    for number in reversed(range(len(calls))):
        worst[number] = sum(1 + worst[callee] for callee in calls[number])
    return worst


def _tree(services: int, chance: random.Random) -> Calls:
    calls: Calls = [[] for _ in range(services)]
    growing = deque([0])
    number = 1
    while number < services:
        parent = growing.popleft()
        wanted = min(chance.randint(2, FAN_OUT + 1), services - number)
        calls[parent] = list(range(number, number + wanted))
        growing.extend(calls[parent])
        number += wanted
    return calls


def _layers(services: int, chance: random.Random) -> Calls:
    layers: list[range] = []
    number = 0
    for size in _sizes(services):
        layers.append(range(number, number + size))
        number += size
    calls: Calls = [[] for _ in range(services)]
    for above, below in pairwise(layers):
        # Dealt out in turn, so that nobody is left out and nobody has all.
        order = chance.sample(below, len(below))
        for turn, callee in enumerate(order):
            calls[above[turn % len(above)]].append(callee)
        for caller in above:
            others = chance.sample(below, min(FAN_OUT, len(below)))
            more = [callee for callee in others if callee not in calls[caller]]
            calls[caller] = sorted(calls[caller] + more[: max(0, FAN_OUT - len(calls[caller]))])
    return calls


def _sizes(services: int) -> list[int]:
    """1 : 3 : 9 : 27, at least one service each, as far as there are any."""
    depth = 4
    unit = services / sum(3**layer for layer in range(depth))
    sizes: list[int] = []
    for layer in range(depth - 1):
        left = services - sum(sizes)
        sizes.append(min(left, max(1, round(unit * 3**layer))))
    sizes.append(services - sum(sizes))
    return [size for size in sizes if size]


def _mesh(services: int, chance: random.Random) -> Calls:
    """From the last to the first, so that what a callee costs is known before it is called."""
    calls: Calls = [[] for _ in range(services)]
    worst = [0] * services
    depth = [0] * services
    alone: list[int] = []
    """Not called so far."""
    at: dict[int, int] = {}
    for number in reversed(range(services)):
        for _ in range(chance.randint(1, FAN_OUT)):
            # Every other one from those that nobody calls yet, or most would be entries.
            if alone and chance.random() < 0.7:
                callee = chance.choice(alone)
            elif number + 1 < services:
                callee = chance.randrange(number + 1, services)
            else:
                break
            cost = worst[number] + 1 + worst[callee]
            if callee in calls[number] or cost > WORST_CALLS or depth[callee] == DEPTH:
                continue
            calls[number].append(callee)
            worst[number] = cost
            depth[number] = max(depth[number], depth[callee] + 1)
            if callee in at:
                _take(alone, at, callee)
        calls[number].sort()
        at[number] = len(alone)
        alone.append(number)
    return calls


def _take(alone: list[int], at: dict[int, int], number: int) -> None:
    """Out of the list, its last one in its place."""
    place, last = at.pop(number), alone.pop()
    if last != number:
        alone[place] = last
        at[last] = place


SHAPES: Final[Mapping[Shape, Callable[[int, random.Random], Calls]]] = {
    "tree": _tree,
    "mesh": _mesh,
    "layers": _layers,
}
assert MAX_SERVICES <= MAX_CALLS, "a tree's request visits every service"
