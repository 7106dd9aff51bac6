"""Repeats of one edge in a row, and repeats that hold nothing else, as one step with their count.

Steps are joined where they are the same edge in every option and none needs the result of
another. The joined step keeps the first one's id, and the origins of all, so that each item draws
under the step and the number that it had.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from services.scenario.model import Call, Edge, Origin, Parallel, Publish, Repeat, Step
from services.scenario.tree import Steps, with_blocks


def joined(steps: Steps, is_edge: Callable[[Step], bool], limit: int | None) -> Steps:
    """``limit`` is how many of ``steps`` run at once: 1 in a sequence, None for all."""
    renamed: dict[str, str] = {}
    out: list[Step] = []
    for given in steps:
        step = unrolled(_inside(given, is_edge), is_edge)
        if step.id != given.id:
            renamed[given.id] = step.id
        step = with_after(step, (_resolve(i, renamed) for i in step.after))
        before = out[-1] if out else None
        if (
            isinstance(before, Call | Publish)
            and isinstance(step, Call | Publish)
            and is_edge(before)
            and is_edge(step)
            and type(before) is type(step)
            and before.per_item == step.per_item
            and before.id not in step.after
            and _options(before.edge) == _options(step.edge)
        ):
            renamed[step.id] = before.id
            out[-1] = _join(before, step, limit)
        else:
            out.append(step)
    return tuple(out)


def unrolled(step: Step, is_edge: Callable[[Step], bool]) -> Step:
    """A repeat that holds one step of the edge, as that step with the whole count."""
    if not isinstance(step, Repeat) or len(step.steps) != 1:
        return step
    inner = step.steps[0]
    if not isinstance(inner, Call | Publish) or not is_edge(inner):
        return step
    # Iteration r shifts item numbers by r * count: over all iterations they are those of one step
    # with the whole count. Each of several origins counts on for itself.
    edge = replace(
        inner.edge,
        count=inner.edge.count * step.times,
        origins=tuple(replace(o, count=o.count * step.times) for o in inner.edge.origins),
    )
    return replace(inner, edge=edge, after=step.after, per_item=step.per_item or inner.per_item)


def with_after(step: Step, after: Iterable[str]) -> Step:
    distinct = tuple(dict.fromkeys(after))
    return step if distinct == step.after else replace(step, after=distinct)


def _inside(step: Step, is_edge: Callable[[Step], bool]) -> Step:
    limit = step.max_parallel if isinstance(step, Parallel) else 1
    return with_blocks(step, lambda block: joined(block, is_edge, limit))


def _resolve(step: str, renamed: dict[str, str]) -> str:
    while step in renamed:
        step = renamed[step]
    return step


def _options(edge: Edge) -> Edge:
    return replace(edge, count=1, max_parallel=1, origins=(Origin("", 1),))


def _join(first: Call | Publish, second: Call | Publish, limit: int | None) -> Call | Publish:
    origins = {o.step: o.count for o in first.edge.origins}
    for origin in second.edge.origins:
        origins[origin.step] = origins.get(origin.step, 0) + origin.count
    edge = replace(
        first.edge,
        count=first.edge.count + second.edge.count,
        max_parallel=_at_once(first.edge.max_parallel, second.edge.max_parallel, limit),
        origins=tuple(Origin(step, count) for step, count in origins.items()),
    )
    return replace(first, edge=edge, after=tuple(dict.fromkeys(first.after + second.after)))


def _at_once(first: int | None, second: int | None, limit: int | None) -> int | None:
    """No more in flight than before: in a sequence the larger, else the sum within the limit."""
    if first is None or second is None:
        return None
    if limit == 1:
        return max(first, second)
    return first + second if limit is None else min(first + second, limit * max(first, second))
