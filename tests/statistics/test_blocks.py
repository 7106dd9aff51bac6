from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hopbench.statistics import blocks
from hopbench.statistics.signed_rank import signed_rank

SEEDS = st.integers(0, 2**40)
ARMS = st.integers(2, 5)


@given(SEEDS, st.integers(0, 50), ARMS)
def test_a_block_is_an_order_and_its_reverse(seed: int, block: int, arms: int) -> None:
    drawn = blocks.order(seed, block, arms)
    assert sorted(drawn[:arms]) == list(range(arms))
    assert drawn == drawn[::-1]


@given(SEEDS, ARMS)
def test_more_blocks_change_none_before_them(seed: int, arms: int) -> None:
    assert blocks.orders(seed, 9, arms)[:4] == blocks.orders(seed, 4, arms)


def test_abba_and_baab_are_as_frequent() -> None:
    drawn = Counter(blocks.orders(11, 2_000))
    assert drawn.keys() == {(0, 1, 1, 0), (1, 0, 0, 1)}
    assert abs(drawn[0, 1, 1, 0] - 1000) < 100


def test_every_order_of_three_arms_is_as_frequent() -> None:
    drawn = Counter(blocks.orders(11, 3_000, 3))
    assert len(drawn) == 6
    assert all(abs(count - 500) < 100 for count in drawn.values())


@pytest.mark.parametrize(
    ("rounds", "pairs"),
    [("ABBA", "13 42"), ("BAAB", "24 31"), ("ABCCBA", "15 62"), ("BCAACB", "36 41")],
)
def test_pairs_are_made_crosswise(rounds: str, pairs: str) -> None:
    found = blocks.pairs(tuple("ABC".index(arm) for arm in rounds), 0, 1)
    assert " ".join(f"{one + 1}{other + 1}" for one, other in found) == pairs


@given(SEEDS, ARMS, st.integers(1, 14), st.integers(-1000, 1000), st.data())
def test_a_linear_drift_cancels_exactly(
    seed: int, arms: int, count: int, slope: int, data: st.DataObject
) -> None:
    drawn = blocks.orders(seed, count, arms)
    second = data.draw(st.integers(1, arms - 1))
    time = np.arange(2.0 * arms * count).reshape(count, -1)
    differences = blocks.paired(slope * time, drawn, 0, second)
    assert (differences.sum(axis=1) == 0).all()
    assert signed_rank(blocks.units(differences)).estimate == 0


@given(SEEDS, ARMS)
def test_a_shift_of_an_arm_is_what_every_pair_shows(seed: int, arms: int) -> None:
    drawn = blocks.orders(seed, 5, arms)
    values = np.where(np.array(drawn) == arms - 1, 3.0, 1.0)
    assert (blocks.paired(values, drawn, 0, arms - 1) == 2).all()
    assert (blocks.paired(values, drawn, arms - 1, 0) == -2).all()
    assert (blocks.null(values, drawn, arms - 1, seed) == 0).all()


def test_a_null_pair_is_two_rounds_of_one_arm_either_way_round() -> None:
    drawn = blocks.orders(3, 400)
    time = np.tile(np.arange(4.0), (400, 1))
    found = [blocks.null(time, drawn, arm, seed=3) for arm in (0, 1)]
    for arm, each in enumerate(found):
        apart = [3 if rounds[0] == arm else 1 for rounds in drawn]
        assert np.abs(each).tolist() == apart
    up = np.array(found) > 0
    assert abs(up.mean() - 0.5) < 0.05
    assert abs((up[0] == up[1]).mean() - 0.5) < 0.1  # neither arm's says anything of the other's


def test_few_blocks_are_told_by_pairs_and_many_by_blocks() -> None:
    few, many = (np.arange(2.0 * n).reshape(n, 2) for n in (blocks.BY_BLOCK - 1, blocks.BY_BLOCK))
    assert blocks.units(few).tolist() == list(range(18))
    assert blocks.units(many).tolist() == [0.5 + 2 * n for n in range(10)]
    assert [blocks.unit_count(n) for n in (3, 9, 10, 24)] == [6, 18, 10, 24]


def test_of_no_block_there_is_no_pair() -> None:
    assert blocks.paired(np.empty((0, 4)), ()).shape == (0, 2)


def test_one_arm_is_no_comparison() -> None:
    with pytest.raises(ValueError, match="two arms"):
        blocks.order(1, 0, arms=1)


def test_a_shape_that_is_no_pair_is_refused() -> None:
    with pytest.raises(ValueError, match="two pairs"):
        blocks.units(np.zeros(6))


@pytest.mark.parametrize("noise", ["a bump in the same round of each block", "anything at all"])
def test_the_draw_alone_keeps_the_level_of_blocks(noise: str) -> None:
    """Fixed noise, all 1,024 draws of ten blocks: at most 5 % of them are called."""
    chance = np.random.default_rng(7)
    if noise.startswith("a bump"):
        rounds = np.tile([1.0, 0.0, 0.0, 1.0], (10, 1)) + 0.01 * chance.standard_normal((10, 4))
    else:
        rounds = np.cumsum(chance.standard_cauchy(40)).reshape(10, 4)
    called = 0
    for draw in range(1024):
        drawn = tuple(((0, 1, 1, 0), (1, 0, 0, 1))[draw >> block & 1] for block in range(10))
        called += signed_rank(blocks.units(blocks.paired(rounds, drawn))).p() <= 0.05
    assert called == 50  # the exact size for ten units: 4.88 %
