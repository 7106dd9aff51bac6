"""``parallelize``: adjacent calls and repeats of an operation run at once, respecting ``after``.

A run of adjacent calls, publishes and repeats becomes a parallel group, inside which ``after``
still holds. An edge with several calls (a repeat of nothing else becomes one) lets them run at
once. Of a bound on the whole, group and edges take shares whose product stays within it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import groupby
from typing import Final

from services.errors import BadInput
from services.scenario.edges import target
from services.scenario.model import (
    Call,
    Operation,
    Parallel,
    Parallelize,
    Publish,
    Repeat,
    Scenario,
    Service,
    Step,
)
from services.scenario.reader import Reader, did_you_mean, integer, optional
from services.scenario.refactors.joining import unrolled, with_after
from services.scenario.refactors.operator import Operator
from services.scenario.tree import Steps, operations, with_blocks, with_operations


def _read(r: Reader) -> Parallelize:
    return Parallelize(
        at=target(r.file, r.need("at", "at: order.create")),
        max=r.get("max", optional(integer(2), "null"), None),
    )


def _write(refactor: Parallelize) -> dict[str, object]:
    return {"at": str(refactor.at), "max": refactor.max}


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
    for is_call, adjacent in groupby(steps, lambda s: isinstance(s, Call | Publish | Repeat)):
        group = tuple(_nested(step, limit) for step in adjacent)
        if not is_call:
            out += [_renamed(step, renamed) for step in group]
            continue
        flat = tuple(unrolled(step, lambda _: True) for step in group)
        ids = {old.id: new.id for old, new in zip(group, flat, strict=True) if old.id != new.id}
        flat = tuple(_renamed(_renamed(step, ids), renamed) for step in flat)
        renamed |= ids
        if _independent(flat):
            across = len(flat) if limit is None else min(len(flat), limit)
            share = None if limit is None else limit // across
            inside = {step.id for step in flat}
            parallel = Parallel(
                id=f"{flat[0].id}/parallel",
                after=tuple(dict.fromkeys(i for s in flat for i in s.after if i not in inside)),
                steps=tuple(
                    with_after(_opened(s, share), (i for i in s.after if i in inside)) for s in flat
                ),
                max_parallel=limit,
            )
            renamed |= dict.fromkeys(inside, parallel.id)
            out.append(parallel)
        else:
            out += [_opened(step, limit) for step in flat]
    return tuple(out)


def _nested(step: Step, limit: int | None) -> Step:
    if isinstance(step, Parallel):
        share = None if limit is None else max(1, limit // max(1, len(step.steps)))
        return replace(step, steps=tuple(_opened(_nested(s, share), share) for s in step.steps))
    return with_blocks(step, lambda block: _in_sequence(block, limit))


def _opened(step: Step, limit: int | None) -> Step:
    """The edge's calls run at once, at most ``limit``; a tighter bound of its own is lifted."""
    if not isinstance(step, Call | Publish) or step.edge.count <= step.edge.batch or limit == 1:
        return step
    return replace(step, edge=replace(step.edge, max_parallel=limit))


def _renamed(step: Step, renamed: dict[str, str]) -> Step:
    return with_after(step, (_resolve(i, renamed) for i in step.after))


def _resolve(step: str, renamed: dict[str, str]) -> str:
    while step in renamed:
        step = renamed[step]
    return step


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


PARALLELIZE: Final = Operator(Parallelize, _read, _write, _apply)
