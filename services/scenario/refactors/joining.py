"""Calls of one edge as one step with the count of all: those of a block, and those of repeats.

Calls of a block are joined, at the place of the first, where they are the same edge in every
option, none needs a result that comes later than that place, and nothing in between may end the
operation. A repeat gives up its calls that need no other of its steps: they come before what is
left of it. The joined step keeps the first one's id, and the origins of all, so that each item
draws under the step and the number that it had.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from services.scenario.model import Edge, Origin, Step, Steps
from services.scenario.steps.calls import Talk
from services.scenario.steps.groups import Parallel, Repeat, Sequence
from services.scenario.tree import with_blocks


def joined(steps: Steps, is_edge: Callable[[Step], bool], limit: int | None) -> Steps:
    """``limit`` is how many of ``steps`` run at once: 1 in a sequence, None for all."""
    names: dict[str, tuple[str, ...]] = {}
    runs: list[list[Step]] = []
    place: dict[str, int] = {}
    last: dict[object, int] = {}
    barrier = -1
    for given in steps:
        parts = _taken_apart(_inside(given, is_edge), is_edge)
        if limit != 1 and len(parts) > 1:
            parts = (_in_turn(given, parts),)
        now: list[str] = []
        for part in parts:
            step = with_after(part, (i for name in part.after for i in names.get(name, (name,))))
            same = kind(step) if isinstance(step, Talk) and is_edge(step) else None
            floor = max([barrier, *(place[i] for i in step.after)])
            if same is not None and last.get(same, -1) > floor:
                runs[last[same]].append(step)
            else:
                place[step.id] = len(runs)
                if same is not None:
                    last[same] = len(runs)
                if may_end(step):
                    barrier = len(runs)
                runs.append([step])
            now.append(step.id if same is None else runs[last[same]][0].id)
            names[part.id] = (now[-1],)
        names[given.id] = tuple(now)
    # A joined step takes one of the places in a bounded group: beside others it may only have in
    # flight what one member had.
    room = 1 if limit is not None and len(runs) > 1 else limit
    return tuple(run[0] if len(run) == 1 else _join(run, room) for run in runs)


def kind(talk: Talk) -> object:
    """Equal for steps that one step could stand for, but for what they need."""
    return type(talk), talk.per_item, options(talk.edge)


def options(edge: Edge) -> Edge:
    """The edge, whichever items it carries."""
    return replace(edge, count=1, max_parallel=1, origins=(Origin("", 1),))


def may_end(step: Step) -> bool:
    """Whether it may end the operation by chance, so that what follows depends on it. Calls may as
    well, and say by ``after`` who needs them."""
    if isinstance(step, Talk):
        return False
    return step.fails or any(may_end(inner) for block in step.blocks for inner in block)


def _taken_apart(step: Step, is_edge: Callable[[Step], bool]) -> Steps:
    """A repeat as its calls of the edge, each with the whole count, and what is left of it."""
    if not isinstance(step, Repeat) or may_end(step):
        return (step,)
    taken = [s for s in step.steps if isinstance(s, Talk) and is_edge(s) and not s.after]
    if not taken:
        return (step,)
    ids = {talk.id for talk in taken}
    calls = [_whole(talk, step) for talk in taken]
    left = [s for s in step.steps if s.id not in ids]
    if not left:
        return tuple(calls)
    needed = (i for s in left for i in s.after if i in ids)
    rest = replace(
        step, steps=tuple(with_after(s, (i for i in s.after if i not in ids)) for s in left)
    )
    return (*calls, with_after(rest, (*step.after, *needed)))


def _in_turn(given: Step, parts: Steps) -> Sequence:
    """The parts as one member of a group."""
    ids = {part.id for part in parts}
    return Sequence(
        id=f"{given.id}/sequence",
        after=given.after,
        steps=tuple(with_after(part, (i for i in part.after if i in ids)) for part in parts),
    )


def unrolled(step: Step) -> Step:
    """A repeat that holds one call, as that call with the whole count."""
    if not isinstance(step, Repeat) or len(step.steps) != 1:
        return step
    inner = unrolled(step.steps[0])
    return _whole(inner, step) if isinstance(inner, Talk) else step


def _whole(talk: Talk, repeat: Repeat) -> Talk:
    # Iteration r shifts item numbers by r * count: over all iterations they are those of one step
    # with the whole count. Each of several origins counts on for itself.
    edge = replace(
        talk.edge,
        count=talk.edge.count * repeat.times,
        max_parallel=_at_once([talk.edge], 1),
        origins=tuple(replace(o, count=o.count * repeat.times) for o in talk.edge.origins),
    )
    return replace(talk, edge=edge, after=repeat.after, per_item=repeat.per_item or talk.per_item)


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
