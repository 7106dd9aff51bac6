from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.arrays.quantiles import NEEDED, Quantiles, quantiles, quantiles_by_group, rank


def test_a_percentile_needs_as_many_values_as_the_measurement_page_says() -> None:
    assert NEEDED == {50: 6, 90: 36, 95: 72, 99: 368}


@pytest.mark.parametrize(
    ("percent", "n", "at"),
    [(50, 1, 0), (50, 2, 0), (50, 3, 1), (90, 10, 8), (95, 20, 18), (99, 100, 98), (99, 101, 99)],
)
def test_nearest_rank_is_exact_where_the_product_is_whole(percent: int, n: int, at: int) -> None:
    assert rank(percent, n) == at


@pytest.mark.parametrize(
    ("n", "p50", "p90"), [(0, None, None), (5, None, None), (6, 3.0, None), (36, 18.0, 33.0)]
)
def test_what_the_sample_cannot_identify_is_null(
    n: int, p50: float | None, p90: float | None
) -> None:
    found = quantiles(np.arange(1, n + 1))
    assert (found.n, found.p50, found.p90) == (n, p50, p90)
    assert found.max == (n or None)


def test_requests_that_never_ended_rank_last() -> None:
    """Of 10, 5 ended: the median is the last of these, and nothing above is known."""
    assert quantiles(np.array([5, 1, 3, 2, 4]), endless=5) == Quantiles(
        10, 5.0, None, None, None, None
    )
    assert quantiles(np.array([1, 2, 3, 4]), endless=6).p50 is None


@given(st.lists(st.integers(0, 10**12), min_size=6, max_size=80))
def test_a_quantile_is_the_least_value_that_enough_do_not_exceed(values: list[int]) -> None:
    found = quantiles(np.array(values))
    assert found.p50 is not None
    assert found.p50 in values
    needed = math.ceil(len(values) / 2)
    assert sum(v <= found.p50 for v in values) >= needed
    assert sum(v < found.p50 for v in values) < needed


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1000)), max_size=60))
def test_groups_are_what_they_are_alone(rows: list[tuple[int, int]]) -> None:
    group, values = (np.array([row[i] for row in rows], np.int64) for i in range(2))
    assert quantiles_by_group(group, values, 4, divisor=10.0) == [
        quantiles(values[group == g], divisor=10.0) for g in range(4)
    ]
