"""Repeats of one edge in a row, and repeats that hold nothing else, as one step with their count.

Steps are joined where they are the same edge in every option and none needs the result of
another. The joined step keeps the first one's id, and the origins of all, so that each item draws
under the step and the number that it had.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from services.scenario.model import Edge, Origin, Step, Steps
from services.scenario.steps.calls import Talk
from services.scenario.steps.groups import Parallel, Repeat
from services.scenario.tree import with_blocks


def joined(steps: Steps, is_edge: Callable[[Step], bool], limit: int | None) -> Steps:
    """``limit`` is how many of ``steps`` run at once: 1 in a sequence, None for all."""
    renamed: dict[str, str] = {}
    runs: list[list[Step]] = []
    for given in steps:
        step = unrolled(_inside(given, is_edge), is_edge)
        if step.id != given.id:
            renamed[given.id] = step.id
        step = with_after(step, (resolved(i, renamed) for i in step.after))
        if runs and is_edge(step) and is_edge(runs[-1][0]) and _same_edge(runs[-1][0], step):
            renamed[step.id] = runs[-1][0].id
            runs[-1].append(step)
        else:
            runs.append([step])
    # A joined step takes one of the places in a bounded group: beside others it may only have in
    # flight what one member had.
    room = 1 if limit is not None and len(runs) > 1 else limit
    return tuple(run[0] if len(run) == 1 else _join(run, room) for run in runs)


def unrolled(step: Step, is_edge: Callable[[Step], bool]) -> Step:
    """A repeat that holds one step of the edge, as that step with the whole count."""
    if not isinstance(step, Repeat) or len(step.steps) != 1:
        return step
    inner = unrolled(step.steps[0], is_edge)
    if not isinstance(inner, Talk) or not is_edge(inner):
        return step
    # Iteration r shifts item numbers by r * count: over all iterations they are those of one step
    # with the whole count. Each of several origins counts on for itself.
    edge = replace(
        inner.edge,
        count=inner.edge.count * step.times,
        max_parallel=_at_once([inner.edge], 1),
        origins=tuple(replace(o, count=o.count * step.times) for o in inner.edge.origins),
    )
    return replace(inner, edge=edge, after=step.after, per_item=step.per_item or inner.per_item)


def with_after(step: Step, after: Iterable[str]) -> Step:
    distinct = tuple(dict.fromkeys(after))
    return step if distinct == step.after else replace(step, after=distinct)


def _inside(step: Step, is_edge: Callable[[Step], bool]) -> Step:
    limit = step.max_parallel if isinstance(step, Parallel) else 1
    return with_blocks(step, lambda block: joined(block, is_edge, limit))


def resolved(step: str, renamed: Mapping[str, str]) -> str:
    """What the id is called now."""
    while step in renamed:
        step = renamed[step]
    return step


def _same_edge(first: Step, step: Step) -> bool:
    """Whether both could be one step; ``first`` stands for all that were joined to it."""
    return (
        isinstance(first, Talk)
        and isinstance(step, Talk)
        and type(first) is type(step)
        and first.per_item == step.per_item
        and first.id not in step.after
        and _options(first.edge) == _options(step.edge)
    )


def _options(edge: Edge) -> Edge:
    return replace(edge, count=1, max_parallel=1, origins=(Origin("", 1),))


def _join(run: list[Step], limit: int | None) -> Step:
    members = [step for step in run if isinstance(step, Talk)]
    origins: dict[str, int] = {}
    for member in members:
        for origin in member.edge.origins:
            origins[origin.step] = origins.get(origin.step, 0) + origin.count
    edge = replace(
        members[0].edge,
        count=sum(member.edge.count for member in members),
        max_parallel=_at_once([member.edge for member in members], limit),
        origins=tuple(Origin(step, count) for step, count in origins.items()),
    )
    after = (name for member in members for name in member.after)
    return with_after(replace(members[0], edge=edge), after)


def _at_once(edges: list[Edge], limit: int | None) -> int | None:
    """What the edges had in flight together at most, so that joining them changes nothing there."""
    bounds = [edge.max_parallel for edge in edges]
    if limit is None and None in bounds:
        return None
    calls = (min(e.max_parallel or e.count, -(-e.count // e.batch)) for e in edges)
    return sum(sorted(calls, reverse=True)[:limit])
