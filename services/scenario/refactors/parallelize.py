"""``parallelize``: adjacent calls and repeats of an operation run at once, respecting ``after``.

A run of calls, publishes and repeats, with the work and the waiting between them, becomes a
parallel group, inside which ``after`` still holds; the calls of one edge (a repeat of nothing else
is one) run at once, too. Groups that the file made stay, and inside their members the same is done.
Of a bound on the whole, a group and its members take shares whose product stays within it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

from services.errors import BadInput
from services.scenario.capacity import in_flight
from services.scenario.model import (
    EdgeRef,
    Operation,
    Refactor,
    Scenario,
    Service,
    Step,
    Steps,
    Target,
)
from services.scenario.refactors.batch import BATCH, Batch
from services.scenario.refactors.joining import resolved, unrolled, with_after
from services.scenario.refactors.operator import Operator
from services.scenario.steps import kind_of
from services.scenario.steps.calls import Talk
from services.scenario.steps.groups import Parallel, Repeat
from services.scenario.steps.time import Sleep, Work
from services.scenario.text.edges import TARGET
from services.scenario.text.forms import Form, Key, integer, optional
from services.scenario.text.reader import did_you_mean
from services.scenario.tree import operations, walk, with_blocks, with_operations

_CALLS: Final = (Talk, Repeat)
_BETWEEN: Final = (Work, Sleep)


@dataclass(frozen=True, slots=True)
class Parallelize(Refactor):
    at: Target
    max: int | None


def _apply(scenario: Scenario, refactor: Parallelize) -> Scenario:
    known = [f"{s.name}.{o.name}" for s, o in operations(scenario)]
    if str(refactor.at) not in known:
        raise BadInput(
            f"parallelize: there is no operation {refactor.at}",
            hint=did_you_mean(str(refactor.at), known),
        )
    before = scenario.services[refactor.at.service].operations[refactor.at.operation].steps
    steps = _in_sequence(before, refactor.max)
    if steps == before:
        raise _nothing_at_once(scenario, before, refactor)

    def rewrite(service: Service, operation: Operation) -> Operation:
        if (service.name, operation.name) != (refactor.at.service, refactor.at.operation):
            return operation
        return replace(operation, steps=steps)

    return with_operations(scenario, rewrite)


def _nothing_at_once(scenario: Scenario, steps: Steps, refactor: Parallelize) -> BadInput:
    what = f"parallelize: {refactor.at} has no adjacent calls that could run at once"
    if refactor.max is not None and _in_sequence(steps, None) != steps:
        return BadInput(f"{what} within max: {refactor.max}", hint="give a larger max, or none")
    calls = [step for step in walk(steps) if isinstance(step, Talk)]
    few = {0: "it makes none", 1: "it makes one"}.get(len(calls), "no two of them lie in one list")
    hint = "those of one list can where none is after another, with work and sleep between them"
    for to in dict.fromkeys(call.edge.target for call in calls):
        edge = EdgeRef(refactor.at.service, refactor.at.operation, to.service, to.operation)
        with suppress(BadInput):
            BATCH.apply(scenario, Batch(edge, 2))
            hint = f"one call could carry several: batch {edge}"
            break
    return BadInput(f"{what}: {next(_in_the_way(steps), few)}", hint=hint)


def _in_the_way(steps: Steps, *, in_turn: bool = True) -> Iterator[str]:
    """What keeps calls of one list, and of those inside, from running at once."""
    calling = [i for i, s in enumerate(steps) if any(isinstance(t, Talk) for t in walk((s,)))]
    for i, j in pairwise(calling):
        earlier = {step.id for step in steps[i:j]}
        needed = [name for name in steps[j].after if name in earlier]
        if needed:
            yield f"{steps[j].id!r} is after {needed[0]!r}"
        if not in_turn:
            yield "they do so already"
        for step in steps[i : j + 1]:
            if not isinstance(step, (*_CALLS, *_BETWEEN)):
                yield f"{step.id!r} is a {kind_of(step)[0]}"
    for i in calling:
        step = steps[i]
        if isinstance(step, Talk) and step.edge.count > step.edge.batch:
            yield "they do so already"
        for block in step.blocks:
            yield from _in_the_way(block, in_turn=step.at_once == 1)
        if isinstance(step, Repeat) and step.times > 1:
            yield f"the rounds of {step.id!r} follow each other"


def _in_sequence(steps: Steps, limit: int | None) -> Steps:
    renamed: dict[str, str] = {}
    out: list[Step] = []
    for adjacent in _runs(steps):
        members = []
        for step in adjacent:
            members.append(_renamed(unrolled(step), renamed))
            if members[-1].id != step.id:
                renamed[step.id] = members[-1].id
        group = _group(tuple(members), limit)
        if group is None:
            out += [_within(step, limit) for step in members]
        else:
            renamed |= dict.fromkeys((step.id for step in members), group.id)
            out.append(group)
    return tuple(out)


def _runs(steps: Steps) -> Iterator[list[Step]]:
    """The steps in order: from call to call with the work and the waiting in between, and each of
    the others alone."""
    run: list[Step] = []
    between: list[Step] = []
    for step in steps:
        if isinstance(step, _CALLS):
            run += [*between, step]
            between = []
        elif run and isinstance(step, _BETWEEN):
            between.append(step)
        else:
            yield from filter(None, (run, *([s] for s in between), [step]))
            run, between = [], []
    yield from filter(None, (run, *([s] for s in between)))


def _group(members: Steps, limit: int | None) -> Parallel | None:
    """The members at once; None where that would not let two calls run at the same time."""
    if not _independent(members):
        return None
    calls = sum(isinstance(step, _CALLS) for step in members)
    share = None if limit is None else max(1, limit // calls)
    inside = {step.id for step in members}
    steps = tuple(
        with_after(_within(step, share), (i for i in step.after if i in inside))
        for step in _calls_first(members)
    )
    if limit is None:
        bound = None
    elif (bound := limit // max(1, *map(in_flight, steps))) < 2:
        return None
    return Parallel(
        id=f"{members[0].id}/parallel",
        after=tuple(dict.fromkeys(i for s in members for i in s.after if i not in inside)),
        steps=steps,
        max_parallel=bound,
    )


def _calls_first(members: Steps) -> Steps:
    """Members begin in order, and work would hold up on the loop what could be sent before it."""
    late: set[str] = set()
    for step in members:
        if isinstance(step, _BETWEEN) or not late.isdisjoint(step.after):
            late.add(step.id)
    return tuple(sorted(members, key=lambda step: step.id in late))


def _within(step: Step, limit: int | None) -> Step:
    """The same for what is inside the step."""
    if limit is not None and limit < 2:
        return step
    if isinstance(step, Parallel):
        return _in_group(step, limit)
    if isinstance(step, Talk) and step.edge.count > step.edge.batch:
        step = replace(step, edge=replace(step.edge, max_parallel=limit))
    return with_blocks(step, lambda block: _in_sequence(block, limit))


def _in_group(group: Parallel, limit: int | None) -> Parallel:
    """What is inside each member of a group that was there before; the group stays."""
    members = min(len(group.steps), group.max_parallel or len(group.steps))
    share = None if limit is None else limit // max(1, members)
    steps = ((step, _within(step, share)) for step in group.steps)
    # A share is less than what a member may have already: that it keeps.
    kept = (step if in_flight(new) < in_flight(step) else new for step, new in steps)
    inside = replace(group, steps=tuple(kept))
    return inside if limit is None or in_flight(inside) <= limit else group


def _renamed(step: Step, renamed: dict[str, str]) -> Step:
    return with_after(step, (resolved(i, renamed) for i in step.after))


def _independent(steps: Iterable[Step]) -> bool:
    """Whether two of the calls could run at the same time."""
    needs: dict[str, set[str]] = {}
    calls: list[str] = []
    for step in steps:
        direct = set(step.after)
        needs[step.id] = direct.union(*(needs.get(i, set()) for i in direct))
        if isinstance(step, _CALLS):
            # Each needs all before it, or one of those could run beside it.
            if not needs[step.id].issuperset(calls):
                return True
            calls.append(step.id)
    return False


_BOUND: Final = Form(
    optional(integer(2), "null").read, {"anyOf": [{"type": "null"}, integer(2).schema]}
)
PARALLELIZE: Final = Operator(
    Parallelize,
    (
        Key("at", TARGET, example="at: order.create"),
        Key("max", _BOUND, None, always=True),
    ),
    _apply,
)
