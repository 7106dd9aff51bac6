from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hopbench.statistics.failures import Counts, Failures, failures

PER_ROUND = 500


def of(first: list[int], second: list[int]) -> Failures:
    """Failed requests of each round, of PER_ROUND; two pairs a block."""
    counts = (Counts(sum(each), PER_ROUND * len(each)) for each in (first, second))
    shares = (np.array(second) - np.array(first)).reshape(-1, 2) / PER_ROUND
    return failures(shares, *counts)


def test_no_failure_is_no_proof_that_there_is_none() -> None:
    found = of([0] * 12, [0] * 12)
    interval = found.interval(0.05)
    assert interval.low == pytest.approx(-interval.high)
    assert 3 / 6000 < interval.high < 4 / 6000
    assert found.p() == 1


def test_failures_of_every_round_are_told() -> None:
    found = of([0] * 12, [1, 2, 1, 3, 1, 1, 2, 1, 2, 1, 1, 2])
    assert found.estimate == pytest.approx(18 / 6000)
    assert found.interval(0.05).low > 0
    assert found.above() < 0.05 < found.below()


def test_one_burst_is_no_difference_however_many_failed() -> None:
    """A test of pooled counts would call it at any level."""
    assert of([0] * 12, [0, 0, 0, 400, *[0] * 8]).p() > 0.5


def test_two_failures_are_no_difference_though_no_round_contradicts() -> None:
    assert of([0] * 12, [1, 1, *[0] * 10]).p() > 0.1


ROUNDS = st.lists(st.integers(0, 12), min_size=12, max_size=12)


@settings(max_examples=40, deadline=None)
@given(ROUNDS, ROUNDS, st.sampled_from([0.1, 0.05, 0.01]))
def test_interval_and_p_cannot_disagree(first: list[int], second: list[int], alpha: float) -> None:
    found = of(first, second)
    interval = found.interval(alpha)
    assert (found.p() <= alpha) == (not interval.low <= 0 <= interval.high)


@settings(max_examples=20, deadline=None)
@given(ROUNDS, ROUNDS)
def test_swapped_arms_turn_the_difference(first: list[int], second: list[int]) -> None:
    found, swapped = of(first, second).interval(0.05), of(second, first).interval(0.05)
    assert (swapped.low, swapped.high) == pytest.approx((-found.high, -found.low))


def test_a_round_without_requests_is_refused() -> None:
    with pytest.raises(ValueError, match="without requests"):
        failures(np.array([[np.nan, 0.0]]), Counts(0, 0), Counts(0, 10))
