from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from hopbench.statistics import blocks
from hopbench.statistics.power import detectable, foresee, half_width, pairs_needed
from hopbench.statistics.signed_rank import signed_rank


def test_an_effect_that_is_detectable_is_called_four_times_in_five() -> None:
    chance = np.random.default_rng(5)
    for n in (6, 12, 24):
        effect = detectable(n, 0.05)
        called = [
            signed_rank(chance.standard_normal(n) + effect).above() <= 0.05 for _ in range(2_000)
        ]
        assert np.mean(called) == pytest.approx(0.8, abs=0.03)


def test_the_half_width_is_near_students() -> None:
    for n in (12, 24, 40, 100):
        student = stats.t.ppf(0.975, n - 1) / math.sqrt(n)
        assert half_width(n, 0.05) == pytest.approx(student, rel=0.08)


def test_more_pairs_tell_more_and_a_smaller_alpha_tells_less() -> None:
    assert detectable(24, 0.05) < detectable(12, 0.05) < detectable(12, 0.01)
    assert detectable(160, 0.05) == pytest.approx(detectable(40, 0.05) / 2)


def test_too_few_units_tell_nothing() -> None:
    assert detectable(5, 0.05) == math.inf
    assert foresee(np.ones(8), 4, 0.05).detectable == math.inf


def test_a_ledger_says_what_pairs_will_tell() -> None:
    """Rounds with a spread of 8 %: pairs and null pairs have 8 % times the root of two."""
    null = np.random.default_rng(1).normal(0, 0.08 * math.sqrt(2), 4_000)
    twelve, forty = foresee(null, 12, 0.05), foresee(null, 40, 0.05)
    assert twelve.width == pytest.approx(0.16, abs=0.01)
    assert twelve.detectable == pytest.approx(0.12, abs=0.01)
    assert forty.detectable < twelve.detectable / 1.7


def test_what_is_foreseen_is_what_is_found() -> None:
    chance = np.random.default_rng(2)
    for pairs in (12, 40):
        widths = []
        for n in range(400):
            drawn = blocks.orders(n, pairs // 2)
            ranks = signed_rank(
                blocks.units(blocks.paired(chance.normal(0, 0.08, (pairs // 2, 4)), drawn))
            )
            interval = ranks.interval(0.05)
            widths.append(math.expm1(interval.high - interval.low))
        null = chance.normal(0, 0.08 * math.sqrt(2), 4_000)
        assert np.median(widths) == pytest.approx(foresee(null, pairs, 0.05).width, rel=0.06)


def test_orientation_of_null_pairs_does_not_matter() -> None:
    null = np.array([[0.1, -0.2], [0.05, 0.03]])
    assert foresee(null, 12, 0.05) == foresee(-null, 12, 0.05) == foresee(np.abs(null), 12, 0.05)


def test_so_many_pairs_are_needed_for_an_effect() -> None:
    null = np.full(30, 0.05)
    pairs = pairs_needed(null, 0.05, 0.05)
    assert pairs is not None
    assert foresee(null, pairs, 0.05).detectable <= 0.05 < foresee(null, pairs - 2, 0.05).detectable
    assert pairs_needed(null, 0.0001, 0.05) is None


@pytest.mark.parametrize("pairs", [0, 7])
def test_half_a_block_cannot_be_had(pairs: int) -> None:
    with pytest.raises(ValueError, match="two pairs"):
        foresee(np.ones(4), pairs, 0.05)


def test_nothing_is_known_without_null_pairs() -> None:
    with pytest.raises(ValueError, match="null pairs"):
        foresee(np.empty((0, 2)), 12, 0.05)
