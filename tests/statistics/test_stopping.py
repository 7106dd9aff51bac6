from __future__ import annotations

import numpy as np
import pytest

from hopbench.statistics.blocks import BY_BLOCK
from hopbench.statistics.stopping import FIRST, enough


def test_it_stops_where_null_pairs_say_that_the_interval_is_narrow() -> None:
    null = np.full((60, 2), 0.1)
    stops = [blocks for blocks in range(1, 61) if enough(null[:blocks], 0.05, 0.05)]
    assert stops == list(range(stops[0], 61))
    assert FIRST < stops[0] < 60


def test_it_does_not_look_before_the_block_is_the_unit() -> None:
    quiet = np.zeros((FIRST, 2))
    assert FIRST == BY_BLOCK
    assert not enough(quiet[:-1], 0.05, 0.05)
    assert enough(quiet, 0.05, 0.05)


def test_signs_are_nothing_to_it() -> None:
    """Else the draw would no longer be a fair coin where it stops."""
    chance = np.random.default_rng(1)
    null = chance.normal(0, 0.1, (40, 2))
    turned = null * chance.choice([-1, 1], null.shape)
    for blocks in range(1, 41):
        assert enough(null[:blocks], 0.1, 0.05) == enough(turned[:blocks], 0.1, 0.05)


def test_no_width_is_no_width() -> None:
    with pytest.raises(ValueError, match="positive"):
        enough(np.zeros((10, 2)), 0.0, 0.05)
