"""``parallelize``: adjacent calls and repeats of an operation run at once, respecting ``after``.

A run of adjacent calls, publishes and repeats becomes a parallel group, inside which ``after``
still holds; the calls of one edge (a repeat of nothing else is one) run at once, too. Groups that
the file made stay as they are. Of a bound on the whole, a group and its members take shares whose
product stays within it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Final

from services.errors import BadInput
from services.scenario.capacity import in_flight
from services.scenario.model import (
    Operation,
    Refactor,
    Scenario,
    Service,
    Step,
    Steps,
    Target,
)
from services.scenario.refactors.joining import resolved, unrolled, with_after
from services.scenario.refactors.operator import Operator
from services.scenario.steps.calls import Talk
from services.scenario.steps.groups import Parallel, Repeat
from services.scenario.text.edges import TARGET
from services.scenario.text.forms import Form, Key, integer, optional
from services.scenario.text.reader import did_you_mean
from services.scenario.tree import operations, with_blocks, with_operations


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

    def rewrite(service: Service, operation: Operation) -> Operation:
        if (service.name, operation.name) != (refactor.at.service, refactor.at.operation):
            return operation
        return replace(operation, steps=_in_sequence(operation.steps, refactor.max))

    after = with_operations(scenario, rewrite)
    if after == scenario:
        raise BadInput(
            f"parallelize: {refactor.at} has no adjacent calls that could run at once",
            hint="calls that are after each other have to wait",
        )
    return after


def _in_sequence(steps: Steps, limit: int | None) -> Steps:
    renamed: dict[str, str] = {}
    out: list[Step] = []
    for talks, adjacent in groupby(steps, lambda step: isinstance(step, Talk | Repeat)):
        if not talks:
            out += [_within(_renamed(step, renamed), limit) for step in adjacent]
            continue
        members = []
        for step in adjacent:
            members.append(_renamed(unrolled(step, lambda _: True), renamed))
            if members[-1].id != step.id:
                renamed[step.id] = members[-1].id
        group = _group(tuple(members), limit)
        if group is None:
            out += [_within(step, limit) for step in members]
        else:
            renamed |= dict.fromkeys((step.id for step in members), group.id)
            out.append(group)
    return tuple(out)


def _group(members: Steps, limit: int | None) -> Parallel | None:
    """The members at once; None where that would not let two of them run at the same time."""
    if not _independent(members):
        return None
    share = None if limit is None else max(1, limit // len(members))
    inside = {step.id for step in members}
    steps = tuple(
        with_after(_within(step, share), (i for i in step.after if i in inside)) for step in members
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


def _within(step: Step, limit: int | None) -> Step:
    """The same for what is inside the step."""
    if isinstance(step, Parallel) or limit == 1:
        return step
    if isinstance(step, Talk) and step.edge.count > step.edge.batch:
        step = replace(step, edge=replace(step.edge, max_parallel=limit))
    return with_blocks(step, lambda block: _in_sequence(block, limit))


def _renamed(step: Step, renamed: dict[str, str]) -> Step:
    return with_after(step, (resolved(i, renamed) for i in step.after))


def _independent(steps: Iterable[Step]) -> bool:
    """Whether two of the steps could run at the same time."""
    needs: dict[str, set[str]] = {}
    for step in steps:
        direct = set(step.after)
        needs[step.id] = direct.union(*(needs.get(i, set()) for i in direct))
    return any(
        set(needs) - needs[step] - {step} - {later for later in needs if step in needs[later]}
        for step in needs
    )


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
