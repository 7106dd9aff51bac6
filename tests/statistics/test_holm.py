from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hopbench.statistics import holm

FAMILY = st.lists(st.integers(0, 1000).map(lambda k: k / 1000), max_size=12)


def test_each_is_held_against_what_is_left_of_the_family() -> None:
    """Holm 1979: 0.01 of four, then 0.02 of three, then 0.03 of two stands, and with it 0.04."""
    assert holm.adjusted([0.02, 0.01, 0.04, 0.03]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm.alphas([0.02, 0.01, 0.04, 0.03], 0.05) == pytest.approx(
        [0.05 / 3, 0.0125, *2 * [0.05 / 3]]
    )


def test_a_family_of_one_has_the_full_level() -> None:
    assert holm.adjusted([0.03]).tolist() == [0.03]
    assert holm.alphas([0.03], 0.05).tolist() == [0.05]


def test_an_empty_family_gives_none() -> None:
    assert len(holm.adjusted([])) == len(holm.alphas([], 0.05)) == 0


@given(FAMILY)
def test_the_order_of_p_is_kept_and_none_falls(p: list[float]) -> None:
    found = holm.adjusted(p)
    order = np.argsort(p, kind="stable")
    assert (np.diff(found[order]) >= 0).all()
    assert (found >= p).all()
    assert (found <= 1).all()
    assert (found <= np.minimum(1, len(p) * np.array(p)) + 1e-12).all()  # never past Bonferroni


@given(FAMILY, st.sampled_from([0.01, 0.05, 0.1003]))
def test_what_is_called_by_p_is_called_at_its_own_alpha(p: list[float], alpha: float) -> None:
    own = holm.alphas(p, alpha)
    clear = np.abs(holm.adjusted(p) - alpha) > 1e-9  # equal but for the last bit of a product
    assert ((np.array(p) <= own) == (holm.adjusted(p) <= alpha))[clear].all()


@given(FAMILY.filter(bool), st.sampled_from([0.01, 0.05]))
def test_its_own_alpha_is_between_bonferronis_and_all(p: list[float], alpha: float) -> None:
    own = holm.alphas(p, alpha)
    assert (own >= alpha / len(p)).all()
    assert (own <= alpha).all()


def test_where_none_is_called_the_intervals_are_bonferronis() -> None:
    assert holm.alphas([0.5, 0.3, 0.9], 0.06) == pytest.approx([0.02] * 3)
