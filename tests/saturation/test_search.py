"""Step, then bisect."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hopbench.saturation.search import Look, Outcome, bracket, next_rate

RATES = st.floats(0.5, 50_000)


def looked(knee_rps: float, first_rps: float, within: float, most_rps: float = 1e6) -> list[Look]:
    looks: list[Look] = []
    while (rate := next_rate(looks, first_rps, most_rps, within)) is not None:
        held = rate <= knee_rps
        looks.append(Look(rate, Outcome.HELD if held else Outcome.SATURATED))
    return looks


@given(RATES, st.floats(1, 1000), st.sampled_from([0.02, 0.05, 0.1]))
def test_the_knee_is_found_within_what_was_asked(
    knee_rps: float, first_rps: float, within: float
) -> None:
    looks = looked(knee_rps, first_rps, within)
    held, lost = bracket(looks)
    if knee_rps < first_rps / 64:
        assert held is None
        return
    assert held is not None
    assert lost is not None
    assert held <= knee_rps < lost.rate_rps <= held * (1 + within) * 1.0001


def test_it_doubles_until_something_gives() -> None:
    assert [look.rate_rps for look in looked(170, 20, 0.5)] == pytest.approx(
        [20, 40, 80, 160, 320, 226.3], abs=0.1
    )


def test_it_ends_at_the_most_that_is_to_be_tried() -> None:
    looks = looked(1e9, 20, 0.05, most_rps=100)
    assert [look.rate_rps for look in looks] == [20, 40, 80, 100]
    assert bracket(looks) == (100, None)


def test_what_held_higher_up_is_believed() -> None:
    looks = [Look(20, Outcome.SATURATED), Look(40, Outcome.HELD)]
    assert bracket(looks) == (40, None)
