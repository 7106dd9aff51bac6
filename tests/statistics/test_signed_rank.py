from __future__ import annotations

import math
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from hopbench.statistics.signed_rank import (
    needed,
    null_distribution,
    signed_rank,
    size,
)

DIFFERENCES = st.lists(st.floats(-5, 5, allow_nan=False), min_size=1, max_size=25)
TIED = st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=25)
"""With zeros, and many of the same size."""
ALPHAS = st.sampled_from([0.5, 0.25, 0.1, 0.05, 0.03125, 0.01, 0.05 / 3, 0.001])


@given(DIFFERENCES | TIED, ALPHAS, st.sampled_from([0.0, 1.0, -0.5, math.log(1.05)]))
def test_interval_and_p_cannot_disagree(x: list[float], alpha: float, at: float) -> None:
    ranks = signed_rank(x)
    interval = ranks.interval(alpha)
    assert (ranks.p(at) <= alpha) == (not interval.low <= at <= interval.high)
    assert (ranks.above(at) <= alpha) == (interval.low > at)
    assert (ranks.below(at) <= alpha) == (interval.high < at)


@given(DIFFERENCES | TIED, ALPHAS)
def test_swapped_arms_give_the_inverse(x: list[float], alpha: float) -> None:
    ranks, swapped = signed_rank(x), signed_rank([-each for each in x])
    interval, mirrored = ranks.interval(alpha), swapped.interval(alpha)
    assert swapped.estimate == -ranks.estimate
    assert (mirrored.low, mirrored.high) == (-interval.high, -interval.low)
    assert swapped.p() == ranks.p()


@given(TIED, ALPHAS, st.integers(-4, 4), st.sampled_from([0.25, 2.0, 8.0]))
def test_a_shift_and_a_scale_move_everything_with_them(
    x: list[float], alpha: float, shift: int, scale: float
) -> None:
    ranks = signed_rank(x)
    moved = signed_rank([scale * each + shift for each in x])
    interval, after = ranks.interval(alpha), moved.interval(alpha)
    assert moved.estimate == scale * ranks.estimate + shift
    assert (after.low, after.high) == (scale * interval.low + shift, scale * interval.high + shift)
    assert moved.p(shift) == ranks.p()


@given(DIFFERENCES, st.data())
def test_the_order_of_pairs_does_not_matter(x: list[float], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(x))
    assert np.array_equal(signed_rank(x).walsh, signed_rank(shuffled).walsh)


@given(DIFFERENCES | TIED)
def test_the_estimate_lies_within_every_interval(x: list[float]) -> None:
    ranks = signed_rank(x)
    for alpha in (0.9, 0.5, 0.05):
        interval = ranks.interval(alpha)
        assert interval.low <= ranks.estimate <= interval.high
        assert interval.size <= alpha


UNTIED = st.lists(st.integers(1, 10_000), min_size=1, max_size=25, unique=True)


@given(UNTIED, st.data())
def test_p_is_scipys_where_nothing_is_tied(sizes: list[int], data: st.DataObject) -> None:
    signs = data.draw(st.lists(st.sampled_from([-1, 1]), min_size=len(sizes), max_size=len(sizes)))
    x = np.array(sizes, float) * signs
    assert signed_rank(x).p() == pytest.approx(stats.wilcoxon(x, method="exact").pvalue)


@given(st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=8), ALPHAS)
def test_ties_and_zeros_never_raise_the_size(x: list[float], alpha: float) -> None:
    """Under the null each difference could as well have had the other sign, whatever its size."""
    called = [signed_rank(np.multiply(x, s)).p() <= alpha for s in product((-1, 1), repeat=len(x))]
    assert np.mean(called) <= alpha


def test_zeros_count_for_both_sides() -> None:
    assert signed_rank([0.0] * 10).p() == 1
    assert signed_rank([0.0, 1, 2, 3, 4, 5]).p() == 2 * signed_rank([0.1, 1, 2, 3, 4, 5]).p()


@pytest.mark.parametrize(
    ("n", "critical", "chance"),
    # Hollander, Wolfe & Chicken, table A.4: P(T+ >= t), written for the lower tail.
    [(3, 0, 0.125), (5, 0, 0.031), (6, 0, 0.016), (8, 3, 0.020), (10, 8, 0.024), (15, 25, 0.024)],
)
def test_the_distribution_is_the_published_one(n: int, critical: int, chance: float) -> None:
    assert null_distribution(n)[critical] == pytest.approx(chance, abs=5e-4)


def test_the_distribution_counts_subsets_exactly() -> None:
    sums = [
        sum(k for k, taken in zip(range(1, 9), each, strict=True) if taken)
        for each in product((0, 1), repeat=8)
    ]
    for t in range(37):
        exact = Fraction(sum(total <= t for total in sums), 2**8)
        assert null_distribution(8)[t] == float(exact)


@pytest.mark.parametrize(
    ("n", "alpha", "chance"),
    [
        (5, 0.05, 0.0),
        (6, 0.05, 0.03125),
        (8, 0.05, 10 / 256),
        (10, 0.05, 50 / 1024),
        (7, 0.01, 0.0),
        (8, 0.01, 2 / 256),
    ],
)
def test_ranks_are_whole_so_the_size_is_below_alpha(n: int, alpha: float, chance: float) -> None:
    assert size(n, alpha) == chance


@pytest.mark.parametrize(("alpha", "n"), [(0.2, 4), (0.1, 5), (0.05, 6), (0.02, 7), (0.01, 8)])
def test_a_level_needs_so_many_pairs(alpha: float, n: int) -> None:
    assert needed(alpha) == n
    assert signed_rank(range(1, n + 1)).p() <= alpha
    assert signed_rank(range(1, n)).p() > alpha


def test_too_few_pairs_bound_nothing() -> None:
    interval = signed_rank([1.0, 2, 3, 4, 5]).interval(0.05)
    assert (interval.low, interval.high) == (-math.inf, math.inf)


def test_six_pairs_span_the_interval() -> None:
    ranks = signed_rank([3.0, 1, 2, 6, 5, 4])
    assert (ranks.interval(0.05).low, ranks.interval(0.05).high) == (1, 6)
    assert (ranks.estimate, ranks.p()) == (3.5, 0.03125)


def test_two_hundred_pairs_are_counted_as_well() -> None:
    assert size(200, 0.05) == pytest.approx(0.05, abs=1e-4)


@pytest.mark.parametrize("x", [[], [math.nan], [1.0, math.inf]])
def test_what_is_no_sample_is_refused(x: list[float]) -> None:
    with pytest.raises(ValueError, match="finite"):
        signed_rank(x)


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1])
def test_a_level_lies_between_nothing_and_all(alpha: float) -> None:
    with pytest.raises(ValueError, match="alpha"):
        signed_rank([1.0]).interval(alpha)
