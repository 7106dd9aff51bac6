from __future__ import annotations

import math

import numpy as np
import pytest

from hopbench.statistics.variance import Variance, decompose


def simulated(slices: int, sds: tuple[float, float, float]) -> np.ndarray:
    chance = np.random.default_rng(4)
    of_slice, of_restart, of_part = sds
    shape = (slices, 5, 4)
    return (
        chance.normal(0, of_slice, (slices, 1, 1))
        + chance.normal(0, of_restart, (slices, 5, 1))
        + chance.normal(0, of_part, shape)
    )


@pytest.mark.parametrize("sds", [(0.08, 0.03, 0.05), (0.0, 0.06, 0.02), (0.1, 0.0, 0.1)])
def test_each_level_gets_its_own(sds: tuple[float, float, float]) -> None:
    found = decompose(simulated(4_000, sds))
    for variance, sd in zip(
        (found.between_slices, found.between_restarts, found.within), sds, strict=True
    ):
        assert math.sqrt(variance) == pytest.approx(sd, abs=0.01)


def test_where_nothing_varies_there_is_none() -> None:
    assert decompose(np.ones((3, 3, 3))) == Variance(0, 0, 0)


def test_none_is_negative() -> None:
    alternating = np.tile([1.0, -1.0], (4, 3, 1))
    found = decompose(alternating)
    assert (found.between_restarts, found.between_slices) == (0, 0)
    assert found.within == 2


@pytest.mark.parametrize("shape", [(1, 2, 2), (2, 1, 2), (2, 2, 1), (2, 2)])
def test_a_level_without_two_tells_nothing(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="at least"):
        decompose(np.zeros(shape))
