from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from hopbench.statistics.binomial import at_least, interval

ALPHAS = st.sampled_from([0.2, 0.05, 0.01, 0.0001])


@given(st.data(), st.sampled_from([1, 7, 40, 1_000, 1_000_000]), ALPHAS)
def test_the_interval_is_scipys(data: st.DataObject, of: int, alpha: float) -> None:
    count = data.draw(st.integers(0, of))
    low, high = stats.binomtest(count, of).proportion_ci(1 - alpha, "exact")
    assert interval(count, of, alpha) == pytest.approx((low, high), rel=1e-6, abs=1e-9)


@given(st.integers(1, 500), st.integers(-1, 501), st.floats(0, 1))
def test_the_tail_is_scipys(of: int, count: int, share: float) -> None:
    expected = stats.binom.sf(count - 1, of, share)
    assert at_least(count, of, share) == pytest.approx(expected, rel=1e-8, abs=1e-12)


@pytest.mark.parametrize(
    ("count", "of", "ends"), [(1, 20, (0.001, 0.249)), (0, 40, (0.0, 0.088)), (0, 0, (0.0, 1.0))]
)
def test_one_null_of_twenty_says_little(count: int, of: int, ends: tuple[float, float]) -> None:
    assert interval(count, of, 0.05) == pytest.approx(ends, abs=5e-4)


@pytest.mark.parametrize(("count", "of"), [(-1, 3), (4, 3)])
def test_more_than_all_is_no_share(count: int, of: int) -> None:
    with pytest.raises(ValueError, match="no share"):
        interval(count, of, 0.05)
