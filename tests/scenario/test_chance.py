"""Chance that can be repeated, and the distributions drawn with it."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.scenario.chance import item_key, request_key, round_seed, uniform
from services.scenario.distributions import (
    Constant,
    Distribution,
    Empirical,
    Exponential,
    LogNormal,
    Percentiles,
    Uniform,
)
from tests.scenario.strategies import distributions

keys = st.integers(0, 2**64 - 1)


def test_a_seed_means_the_same_in_every_version() -> None:
    """Recorded runs name their seed: a change here makes them unrepeatable."""
    assert request_key(7, 0) == 0x77DBE579B4B03272
    assert item_key(1, "order.create/1", 0) == 0x72FFF4EFB0D88199
    assert uniform(1, "cpu") == 0.5101225641622708
    assert round_seed(7, 0) == 1313146692146744875


@given(keys, st.text(max_size=20), st.integers(0, 5))
def test_a_draw_is_a_function_of_key_purpose_and_attempt(key: int, what: str, attempt: int) -> None:
    assert 0 <= uniform(key, what, attempt) < 1
    assert uniform(key, what, attempt) == uniform(key, what, attempt)
    assert uniform(key, what, attempt) != uniform(key, what, attempt + 1)
    assert uniform(key, what, attempt) != uniform(key, what + "x", attempt)


@given(keys, st.text(min_size=1, max_size=20), st.integers(0, 1000))
def test_items_of_one_step_have_keys_of_their_own(parent: int, step: str, number: int) -> None:
    assert item_key(parent, step, number) != item_key(parent, step, number + 1)
    assert item_key(parent, step, number) != item_key(parent ^ 1, step, number)


def test_draws_are_spread_evenly() -> None:
    draws = [uniform(request_key(1, n), "probability") for n in range(20_000)]
    tenths = Counter(int(draw * 10) for draw in draws)
    assert all(abs(tenths[tenth] - 2000) < 200 for tenth in range(10))  # 4.7 sigma


def test_draws_for_two_purposes_are_independent() -> None:
    pairs = [(uniform(k, "cpu"), uniform(k, "fail")) for k in range(20_000)]
    both = sum(a < 0.5 and b < 0.5 for a, b in pairs)
    assert abs(both - 5000) < 300  # 4.9 sigma


def test_pairs_of_rounds_have_seeds_of_their_own() -> None:
    assert len({round_seed(seed, pair) for seed in range(30) for pair in range(30)}) == 900


@given(distributions, st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True))
def test_quantile_functions_never_fall(spread: Distribution, one: float, two: float) -> None:
    if isinstance(spread, Empirical):  # in the order given: each value with equal chance
        assert spread.at(one) in spread.values
        return
    low, high = sorted((one, two))
    assert spread.at(low) <= spread.at(high) * (1 + 1e-12)


@pytest.mark.parametrize(
    "spread",
    [
        Constant(5.0),
        Uniform(1.0, 9.0),
        Exponential(3.0),
        LogNormal(2.0, 0.5),
        Percentiles((0.0, 0.5, 0.99, 1.0), (1.0, 2.0, 8.0, 20.0)),
        Empirical((1.0, 1.0, 7.0)),
    ],
)
def test_the_mean_is_that_of_the_draws(spread: Distribution) -> None:
    steps = 200_000
    mean = sum(spread.at((n + 0.5) / steps) for n in range(steps)) / steps
    assert mean == pytest.approx(spread.mean(), rel=1e-3)


def test_given_percentiles_are_met_exactly() -> None:
    spread = Percentiles((0.0, 0.5, 0.99, 1.0), (1.0, 2.0, 8.0, 20.0))
    assert [spread.at(q) for q in (0.0, 0.25, 0.5, 0.99)] == [1.0, 1.5, 2.0, 8.0]
