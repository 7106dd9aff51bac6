"""The call graph of operations: cycles, what requests reach, and an order to compute in.

Nothing recurses over the graph: a chain of 10,000 operations is legal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from services.scenario.model import Scenario, Target
from services.scenario.steps.calls import Talk
from services.scenario.tree import operations, walk

Callees = Mapping[Target, tuple[tuple[str, Target], ...]]
"""Operation → (step id, callee) of each call and publish; callees that do not exist left out."""


@dataclass(frozen=True, slots=True)
class Cycle:
    step: str
    """The step that closes it."""
    operations: tuple[Target, ...]
    """First and last are the same."""


def callees(scenario: Scenario) -> Callees:
    found = {
        Target(s.name, o.name): tuple(
            (step.id, step.edge.target) for step in walk(o.steps) if isinstance(step, Talk)
        )
        for s, o in operations(scenario)
    }
    return {
        caller: tuple((step, callee) for step, callee in steps if callee in found)
        for caller, steps in found.items()
    }


def ordered(graph: Callees) -> tuple[list[Target], Cycle | None]:
    """Operations with every caller before its callees, and the first cycle found, if any."""
    finished: list[Target] = []
    done: set[Target] = set()
    for start in graph:
        path: dict[Target, None] = {}
        stack = [(start, 0)] if start not in done else []
        while stack:
            node, next_edge = stack.pop()
            path[node] = None
            edges = graph[node]
            while next_edge < len(edges) and edges[next_edge][1] in done:
                next_edge += 1
            if next_edge == len(edges):
                del path[node]
                done.add(node)
                finished.append(node)
                continue
            step, callee = edges[next_edge]
            if callee in path:
                around = [*path]
                around = [*around[around.index(callee) :], callee]
                return [], Cycle(step, tuple(around))
            stack += [(node, next_edge + 1), (callee, 0)]
    return finished[::-1], None


def reached(scenario: Scenario, graph: Callees) -> set[Target]:
    """Operations that a request can come to."""
    found: set[Target] = set()
    todo = [entry.target for entry in scenario.load.entries if entry.target in graph]
    while todo:
        operation = todo.pop()
        if operation not in found:
            found.add(operation)
            todo += [callee for _, callee in graph[operation]]
    return found
