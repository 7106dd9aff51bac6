from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hopbench.statistics.effect import Effect, Outcome, Sample, effects, fewest_pairs
from hopbench.statistics.failures import Counts, failures
from hopbench.statistics.guardrails import guardrails
from hopbench.statistics.verdict import Comparison, verdicts


def around(ratio: float, spread: float = 0.02, pairs: int = 12) -> np.ndarray:
    """Log ratios of pairs, evenly spread about one."""
    each = math.log(ratio) + spread * np.linspace(-1, 1, pairs)
    return each.reshape(-1, 2)


def effect(ratio: float, spread: float = 0.02, pairs: int = 12, **options: bool) -> Effect:
    sample = Sample(around(ratio, spread, pairs), **options)
    (found,) = effects([sample], alpha=0.05, delta=0.05)
    return found


@pytest.mark.parametrize(
    ("ratio", "spread", "pairs", "outcome"),
    [
        (0.60, 0.02, 12, Outcome.FASTER),
        (1.40, 0.02, 12, Outcome.SLOWER),
        (1.00, 0.02, 12, Outcome.EQUIVALENT),
        (1.02, 0.01, 12, Outcome.EQUIVALENT),  # excludes 1, but lies within 5 %
        (1.02, 0.20, 12, Outcome.INCONCLUSIVE),
        (1.07, 0.09, 12, Outcome.SLOWER),  # reaches into ±5 %, and leaves 1 out
        (0.10, 0.01, 4, Outcome.VOID),
        (0.60, 0.02, 6, Outcome.FASTER),
    ],
)
def test_the_verdict_is(ratio: float, spread: float, pairs: int, outcome: Outcome) -> None:
    assert effect(ratio, spread, pairs).outcome is outcome


def test_more_throughput_is_faster() -> None:
    assert effect(1.4, more_is_better=True).outcome is Outcome.FASTER
    assert effect(0.6, more_is_better=True).outcome is Outcome.SLOWER


def test_an_effect_tells_all_that_it_rests_on() -> None:
    found = effect(0.6, pairs=6)
    assert found.ratio == pytest.approx(0.6)
    assert found.interval == found.adjusted
    assert found.interval[0] < 0.6 < found.interval[1] < 1
    assert (found.p, found.p_adjusted, found.size, found.units) == (*3 * [0.03125], 6)
    assert found.mde is not None
    assert 0.01 < found.mde < 0.05


def test_from_twenty_pairs_on_the_block_is_the_unit() -> None:
    assert [effect(0.6, pairs=pairs).units for pairs in (18, 20)] == [18, 10]


def test_no_pair_at_all_is_void() -> None:
    (found,) = effects([Sample(np.empty((0, 2)))], alpha=0.05, delta=0.05)
    assert (found.ratio, found.p, found.outcome) == (None, 1.0, Outcome.VOID)


def test_a_level_that_the_pairs_cannot_reach_is_void() -> None:
    (found,) = effects([Sample(around(0.5, pairs=6))], alpha=0.01, delta=0.05)
    assert found.outcome is Outcome.VOID
    assert found.interval == (0, math.inf)


@pytest.mark.parametrize(
    ("family", "at_least", "pairs"), [(1, 6, 6), (2, 6, 8), (10, 6, 10), (1, 9, 10), (45, 20, 22)]
)
def test_a_family_needs_so_many_pairs(family: int, at_least: int, pairs: int) -> None:
    assert fewest_pairs(0.05, family, at_least) == pairs


LOGS = st.lists(st.integers(-20, 20), min_size=6, max_size=6).map(
    lambda each: np.array(each).reshape(3, 2) / 100
) | st.lists(st.integers(-20, 20), min_size=24, max_size=24).map(
    lambda each: np.array(each).reshape(12, 2) / 100
)


@given(st.lists(LOGS, min_size=1, max_size=6))
def test_within_a_family_interval_p_and_word_cannot_disagree(logs: list[np.ndarray]) -> None:
    for found in effects([Sample(each) for each in logs], alpha=0.05, delta=0.05):
        excludes = not found.adjusted[0] <= 1 <= found.adjusted[1]
        assert (found.p_adjusted <= 0.05) == excludes
        assert (found.p <= 0.05) == (not found.interval[0] <= 1 <= found.interval[1])
        if found.outcome in (Outcome.FASTER, Outcome.SLOWER):
            assert excludes
        if found.outcome is Outcome.INCONCLUSIVE:
            assert not excludes


@given(LOGS)
def test_swapped_arms_invert_the_ratio_and_the_word(logs: np.ndarray) -> None:
    (one,) = effects([Sample(logs)], alpha=0.05, delta=0.05)
    (other,) = effects([Sample(-logs)], alpha=0.05, delta=0.05)
    assert one.ratio is not None
    assert other.ratio == pytest.approx(1 / one.ratio)
    assert other.interval == pytest.approx((1 / one.interval[1], 1 / one.interval[0]))
    turned = {Outcome.FASTER: Outcome.SLOWER, Outcome.SLOWER: Outcome.FASTER}
    assert other.outcome is turned.get(one.outcome, one.outcome)
    assert other.mde == pytest.approx(one.mde)


def test_the_primary_has_the_full_level_and_the_others_share_theirs() -> None:
    """At 6 pairs nothing but a family of one can be called at 5 %."""
    sample = Sample(around(0.6, pairs=6))
    (found,) = verdicts([Comparison(sample, (sample, sample))])
    assert found.outcome is found.primary.outcome is Outcome.FASTER
    assert [each.outcome for each in found.secondary] == 2 * [Outcome.INCONCLUSIVE]
    assert [each.p_adjusted for each in found.secondary] == 2 * [0.0625]


def test_arms_and_rates_are_one_family() -> None:
    sample = Sample(around(0.6, pairs=12))
    alone = verdicts([Comparison(sample, (sample,))])
    many = verdicts([Comparison(sample, (sample,)) for _ in range(3)])
    assert many[0].primary.p_adjusted == 3 * alone[0].primary.p_adjusted
    assert many[2].secondary[0].p_adjusted == 3 * alone[0].secondary[0].p_adjusted


def test_guardrails_return_to_the_comparison_that_they_belong_to() -> None:
    good, bad = (Comparison(Sample(around(0.6)), watched=(around(r),)) for r in (1.0, 1.4))
    assert [v.guardrails[0].worse for v in verdicts([good, bad])] == [False, True]
    assert [v.outcome for v in verdicts([good, bad])] == 2 * [Outcome.FASTER]


@pytest.mark.parametrize(
    ("ratio", "worse"), [(0.6, False), (1.0, False), (1.05, False), (1.4, True)]
)
def test_a_guardrail_is_worse_where_all_of_its_interval_is_beyond(
    ratio: float, worse: bool
) -> None:
    (found,) = guardrails([around(ratio)], alpha=0.05)
    assert found.worse is worse
    assert (found.interval[0] > 1.05) is worse
    assert (found.p_adjusted <= 0.05) is worse


def test_guardrails_are_adjusted_among_themselves() -> None:
    alone, *_ = guardrails([around(1.4)], alpha=0.05)
    among, *_ = guardrails([around(1.4), around(1.0), around(1.0)], alpha=0.05)
    assert among.p_adjusted == 3 * alone.p_adjusted
    assert among.interval[0] < alone.interval[0]


def test_more_failures_are_worse_by_their_difference() -> None:
    shares = np.full((6, 2), 0.01) + 0.001 * np.arange(12).reshape(6, 2)
    failed = failures(shares, Counts(0, 6_000), Counts(93, 6_000))
    (found,) = guardrails([failed], alpha=0.05)
    assert (found.ratio, found.worse) == (None, True)
    assert found.difference == pytest.approx(0.0155)


def test_a_negative_delta_is_refused() -> None:
    with pytest.raises(ValueError, match="delta"):
        effects([], alpha=0.05, delta=-0.1)


def test_what_may_be_zero_is_judged_by_its_differences() -> None:
    gone, same, unlike = (Sample(np.full((4, 2), value), plain=True) for value in (-6.0, 0.0, 0.01))
    found = effects([gone, same, unlike], alpha=0.05, delta=0.05)
    assert [each.ratio for each in found] == [None, None, None]
    assert [each.difference for each in found] == [-6.0, 0.0, 0.01]
    assert [each.outcome for each in found] == [Outcome.FASTER, Outcome.EQUIVALENT, Outcome.SLOWER]


def test_shares_of_failures_belong_to_the_family_and_are_equal_within_a_point() -> None:
    few, many = Counts(0, 6_000), Counts(300, 6_000)
    none = failures(np.zeros((10, 2)), few, few)
    more = failures(np.full((10, 2), 0.05), few, many)
    found = effects([none, more], alpha=0.05, delta=0.05)
    assert [each.outcome for each in found] == [Outcome.EQUIVALENT, Outcome.SLOWER]
    assert found[1].difference == 0.05
