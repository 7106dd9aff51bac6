"""Which rounds of a comparison are to run, and which once more.

A void round has its whole block repeated, in the same order: one round alone would stand minutes
beside those that it is held against, and a new order would toss a coin twice. What was void is
written down before its evidence goes (``repeated.json``): blocks that are drawn again until an arm
behaves say something of that arm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from hopbench import disk
from hopbench.runs import evidence
from hopbench.runs.directory import RunDir
from hopbench.runs.plan import RunPlan, Turn
from services import codec

Turns = tuple[Turn, ...]

_AGAIN: Final = "void, or in a block with a void round: to be measured once more"


@dataclass(frozen=True, slots=True)
class Void:
    """A round that did not count."""

    round: int
    arm: int
    codes: tuple[str, ...]
    """Of the doubts that made it void."""


@dataclass(frozen=True, slots=True)
class Repeated:
    """A block that was measured once more."""

    block: int
    """From 1."""
    void: tuple[Void, ...]


@dataclass(frozen=True, slots=True)
class _Written:
    repeated: tuple[Repeated, ...]
    schema: Literal["hopbench.repeated/1"] = "hopbench.repeated/1"


def lacking(plan: RunPlan, run: RunDir, blocks: int) -> Turns:
    """The rounds of the first ``blocks`` that have not run to their end, in order: all of a block
    in which a part died, or that is to be measured once more."""
    return tuple(turn for block in plan.blocks[:blocks] for turn in _lacking(block, run))


def complete(plan: RunPlan, run: RunDir) -> int:
    """How many blocks, from the first on, lack nothing."""
    return next((n for n, b in enumerate(plan.blocks) if _lacking(b, run)), len(plan.blocks))


def repeated(run: RunDir) -> tuple[Repeated, ...]:
    """One for each time, in order. Raises BadInput for a file that says something else."""
    written = evidence.read_file(_Written, run.repeated)
    return () if written is None else written.repeated


def again(
    plan: RunPlan, run: RunDir, void: Mapping[int, Sequence[str]], at_most: int
) -> tuple[Repeated, ...]:
    """Blocks with a round whose number is in ``void``, with its codes: they are written down, and
    their rounds count as broken off until they have run again. No more than ``at_most`` of them."""
    found = [
        Repeated(number, tuple(Void(t.round, t.arm, tuple(void[t.round])) for t in of))
        for number, block in enumerate(plan.blocks, 1)
        if (of := [turn for turn in block if turn.round in void])
    ][: max(0, at_most)]
    if found:
        disk.write_json(run.repeated, codec.plain(_Written((*repeated(run), *found))))
    for each in found:
        for turn in plan.blocks[each.block - 1]:
            evidence.broke_off(run.trial(turn.round, turn.variant), _AGAIN)
    return tuple(found)


def _lacking(block: Turns, run: RunDir) -> Turns:
    found = [evidence.read(run.trial(turn.round, turn.variant)) for turn in block]
    if any(each is not None and each.broken is not None for each in found):
        return block
    return tuple(turn for turn, each in zip(block, found, strict=True) if each is None)
