"""Twelve runs tell eleven main effects (Plackett & Burman 1946)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t

from hopbench.statistics.screening import MOST, RUNS, design, effects, limit

MS = st.floats(-50, 50, allow_nan=False)


def test_every_factor_is_on_in_half_of_the_runs_and_each_two_in_a_quarter() -> None:
    on = design(MOST).astype(int)
    assert (on.sum(axis=0) == RUNS / 2).all()
    together = on.T @ on
    assert (together[~np.eye(MOST, dtype=bool)] == RUNS / 4).all()
    assert not on[0].any()


@given(st.lists(MS, min_size=1, max_size=MOST), st.lists(MS, min_size=2, max_size=5))
def test_what_adds_up_is_found_exactly_whatever_the_minute(
    true: list[float], minutes: list[float]
) -> None:
    plain = design(len(true)) @ np.array(true)
    found = effects(np.array([plain + minute for minute in minutes]), len(true))
    assert found.estimates == pytest.approx(true, abs=1e-9)
    assert found.error == pytest.approx(0, abs=1e-6)
    if len(true) < MOST:
        assert found.departure == pytest.approx(0, abs=1e-9)
    else:
        assert found.departure is None


def test_the_error_is_what_the_noise_makes_of_it() -> None:
    """Of 4,000 screens of nothing, the estimates scatter by what is told."""
    chance = np.random.default_rng(1)
    found = [effects(chance.normal(0, 2, (4, RUNS)), 9) for _ in range(4000)]
    scatter = np.std([each.estimates for each in found])
    assert np.sqrt(np.mean([each.error**2 for each in found])) == pytest.approx(scatter, rel=0.02)
    assert found[0].degrees == 33


def test_what_two_do_together_shows_as_a_departure() -> None:
    on = design(5)
    plain = on @ np.array([-5.0, -5.0, 0, 0, 0]) + 4.0 * (on[:, 0] & on[:, 1])
    found = effects(np.array([plain, plain]), 5)
    assert found.departure == pytest.approx(2.0, abs=0.7)


@pytest.mark.parametrize("degrees", [11, 22, 33, 100])
@pytest.mark.parametrize("alpha", [0.2, 0.05, 0.01])
def test_the_limit_is_students(alpha: float, degrees: int) -> None:
    assert limit(alpha, degrees) == pytest.approx(t.ppf(1 - alpha / 2, degrees), abs=0.02)


@pytest.mark.parametrize("factors", [0, 12])
def test_more_than_eleven_or_none_are_refused(factors: int) -> None:
    with pytest.raises(ValueError, match="1 to 11 factors"):
        design(factors)


def test_one_replicate_tells_no_error() -> None:
    with pytest.raises(ValueError, match="two replicates"):
        effects(np.zeros((1, RUNS)), 3)
