"""Which rounds of a comparison are to run, and which once more.

A void round has its whole block repeated, in the same order: one round alone would stand minutes
beside those that it is held against, and a new order would toss a coin twice.
"""

from __future__ import annotations

from collections.abc import Collection

from hopbench.runs import evidence
from hopbench.runs.directory import RunDir
from hopbench.runs.plan import RunPlan, Turn

Block = tuple[Turn, ...]


def lacking(plan: RunPlan, run: RunDir, blocks: int) -> Block:
    """The rounds of the first ``blocks`` that have not run to their end, in order: all of a block
    in which a part died, and those that a repetition which stopped half-way had not come to."""
    return tuple(turn for block in plan.blocks[:blocks] for turn in _lacking(block, run))


def complete(plan: RunPlan, run: RunDir) -> int:
    """How many blocks, from the first on, lack nothing."""
    return next((n for n, b in enumerate(plan.blocks) if _lacking(b, run)), len(plan.blocks))


def times_repeated(plan: RunPlan, run: RunDir) -> int:
    """How many blocks were measured once more; one counts each time."""
    return sum(max(_repeats(run, turn) for turn in block) for block in plan.blocks)


def void_blocks(plan: RunPlan, void: Collection[int]) -> tuple[Block, ...]:
    """Those with a round whose number is in ``void``."""
    return tuple(block for block in plan.blocks if any(turn.round in void for turn in block))


def _lacking(block: Block, run: RunDir) -> Block:
    written = [evidence.written(run.trial(turn.round, turn.variant)) for turn in block]
    if any(each is not None and each.evidence.broken is not None for each in written):
        return block
    times = max((each.repeats for each in written if each is not None), default=0)
    return tuple(
        turn
        for turn, each in zip(block, written, strict=True)
        if each is None or each.repeats < times
    )


def _repeats(run: RunDir, turn: Turn) -> int:
    written = evidence.written(run.trial(turn.round, turn.variant))
    return 0 if written is None else written.repeats
