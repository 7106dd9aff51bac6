"""What a stage may repeat, with what is still to come set aside first."""

from __future__ import annotations

from pathlib import Path

import pytest

from hopbench.front.output import Output
from hopbench.front.proving import Measuring, usual_s
from hopbench.proving.candidates import candidates
from hopbench.proving.course import last_rounds
from hopbench.proving.directory import ProofDir
from hopbench.proving.stages import concluding, rounds_of, screening
from tests.proving.in_memory import QUOTE, TAKE, asked, finding

TRIED = candidates([finding(TAKE), finding(QUOTE)])
BLOCK = 6
"""Rounds of a block of three arms."""


def repeats(stage: str, rounds: int, place: Path) -> int:
    """Of void blocks, with a budget of so many rounds."""
    of = asked(budget_s=rounds * usual_s(asked()))
    planned = screening(of, (), TRIED, 1) if stage == "1-screen" else concluding(of, TRIED, 12)
    found = Measuring(of, ProofDir(place), Output()).within_budget(stage, planned)
    assert found.design is not None
    return found.design.repeat_void


@pytest.mark.parametrize(("room", "repeated"), [(0, 0), (BLOCK - 1, 0), (2 * BLOCK, 2), (99, 6)])
def test_a_screen_leaves_room_for_its_confirmation_and_the_end(
    room: int, repeated: int, tmp_path: Path
) -> None:
    needed = 2 * rounds_of(asked(), 2) + last_rounds(asked())
    assert repeats("1-screen", needed + room, tmp_path) == repeated


def test_the_last_comparison_may_use_what_is_left(tmp_path: Path) -> None:
    assert repeats("final", 24 + 8, tmp_path) == 2


def test_without_a_budget_there_are_as_many_as_usual(tmp_path: Path) -> None:
    of = asked()
    found = Measuring(of, ProofDir(tmp_path), Output()).within_budget(
        "1-screen", screening(of, (), TRIED, 1)
    )
    assert found.design is not None
    assert found.design.repeat_void == of.repeat_void
