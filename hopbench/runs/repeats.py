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


def lacking(plan: RunPlan, run: RunDir) -> Block:
    """The rounds that have not run to their end, and those of a block whose repetition stopped
    half-way that it had not come to, in order."""
    return tuple(turn for block in plan.blocks for turn in _lacking(block, run))


def times_repeated(plan: RunPlan, run: RunDir) -> int:
    """How many blocks were measured once more; one counts each time."""
    return sum(max(_repeats(run, turn) for turn in block) for block in plan.blocks)


def void_blocks(plan: RunPlan, void: Collection[int]) -> tuple[Block, ...]:
    """Those with a round whose number is in ``void``."""
    return tuple(block for block in plan.blocks if any(turn.round in void for turn in block))


def _lacking(block: Block, run: RunDir) -> Block:
    repeats = [_repeats(run, turn) for turn in block]
    return tuple(
        turn
        for turn, times in zip(block, repeats, strict=True)
        if times < max(repeats) or not evidence.is_done(run.trial(turn.round, turn.variant))
    )


def _repeats(run: RunDir, turn: Turn) -> int:
    written = evidence.written(run.trial(turn.round, turn.variant))
    return 0 if written is None else written.repeats
