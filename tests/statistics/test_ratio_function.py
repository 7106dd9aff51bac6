from __future__ import annotations

import math

import numpy as np
import pytest

from hopbench.statistics.blocks import orders
from hopbench.statistics.ratio_function import needed, ratio_function

DRAWN = orders(7, 6)


def rounds(requests: int, slower_tail: float = 1.0) -> list[list[np.ndarray]]:
    """Of six blocks. In the second arm, what lies above its P80 takes ``slower_tail`` times."""
    chance = np.random.default_rng(3)
    found: list[list[np.ndarray]] = []
    for block in DRAWN:
        found.append([])
        for arm in block:
            times = np.exp(chance.normal(0, 0.3, requests)) * math.exp(chance.normal(0, 0.02))
            tail = times > np.quantile(times, 0.8)
            found[-1].append(np.where(tail & (arm == 1), slower_tail * times, times))
    return found


def test_it_tells_where_in_the_distribution_a_change_lies() -> None:
    points = {each.quantile: each for each in ratio_function(rounds(1_000, 2.0), DRAWN)}
    assert points[0.5].ratio == pytest.approx(1, rel=0.03)
    assert points[0.95].low > 1.8
    assert points[0.95].ratio == pytest.approx(2, rel=0.05)


@pytest.mark.parametrize(
    ("requests", "last"), [(5, None), (6, 0.5), (72, 0.95), (367, 0.975), (368, 0.99)]
)
def test_it_is_cut_where_a_round_cannot_know(requests: int, last: float | None) -> None:
    points = ratio_function(rounds(requests), DRAWN)
    assert (points[-1].quantile if points else None) == last


def test_low_quantiles_need_as_many_as_high_ones() -> None:
    assert needed(0.05) == needed(0.95) == 72
    assert (needed(0.5), needed(0.99)) == (6, 368)


def test_it_is_cut_where_a_round_never_ended() -> None:
    given = rounds(400)
    given[2][1][:30] = np.inf
    assert ratio_function(given, DRAWN)[-1].quantile == 0.9


def test_the_same_distribution_is_the_ratio_one_everywhere() -> None:
    same = [[np.arange(1.0, 101)] * 4 for _ in DRAWN]
    assert {(p.ratio, p.low, p.high) for p in ratio_function(same, DRAWN)} == {(1.0, 1.0, 1.0)}


def test_a_quantile_that_took_no_time_in_a_round_is_cut() -> None:
    times = np.concatenate([np.zeros(20), np.ones(80)])
    shown = {p.quantile for p in ratio_function([[times] * 4 for _ in DRAWN], DRAWN)}
    assert min(shown) == 0.25
    assert 0.5 in shown


def test_of_no_block_nothing_is_known() -> None:
    assert ratio_function([], ()) == ()
