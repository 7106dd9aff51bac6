from __future__ import annotations

import math

import numpy as np
import pytest

from hopbench.statistics.geometric import combined


def test_half_of_one_entry_is_told_by_its_weight() -> None:
    """Of two entries as frequent, one takes half the time: together 0.71, not 7 % less."""
    ratios = np.log([[[0.5, 1.0], [0.5, 1.0]]])
    assert np.exp(combined(ratios, [1, 1])) == pytest.approx(np.full((1, 2), math.sqrt(0.5)))
    assert np.exp(combined(ratios, [3, 1])) == pytest.approx(np.full((1, 2), 0.5**0.75))


def test_weights_are_shares() -> None:
    ratios = np.random.default_rng(1).normal(size=(6, 2, 3))
    assert combined(ratios, [2, 4, 6]) == pytest.approx(combined(ratios, [1, 2, 3]))
    assert combined(-ratios, [1, 2, 3]) == pytest.approx(-combined(ratios, [1, 2, 3]))


@pytest.mark.parametrize("weights", [[1], [1, -1], [0, 0], [1, 1, 1]])
def test_what_is_no_weight_is_refused(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="weight"):
        combined(np.zeros((3, 2, 2)), weights)
