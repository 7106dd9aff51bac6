"""How far a proof has come, and what its stages cost."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from hopbench.proving.candidates import Candidate
from hopbench.proving.document import Screen, Step
from hopbench.proving.stages import LOOKS, Asked, Compared, Looked, rounds_of
from hopbench.statistics.effect import fewest_pairs

ARMS: Final = 2
"""Of the last comparison."""


class Void(Exception):
    """A stage that can say nothing; its text is for people."""


@dataclass(slots=True)
class Course:
    """How far it has come: what an end at any moment leaves to be told."""

    looks: list[Looked] = field(default_factory=list)
    screens: list[Screen] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    kept: tuple[Candidate, ...] = ()
    final: Compared | None = None
    finished: bool = False


def least_rounds(asked: Asked) -> int:
    """What the smallest proof takes: one refactor that holds."""
    return LOOKS + _least(asked)


def _least(asked: Asked) -> int:
    return 2 * rounds_of(asked, 1) + last_rounds(asked)


def last_rounds(asked: Asked) -> int:
    """Rounds of the shortest last comparison."""
    return ARMS * fewest_pairs(asked.alpha)
