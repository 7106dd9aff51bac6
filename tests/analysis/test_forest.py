from __future__ import annotations

from random import Random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from analysis.arrays.forest import Forest, cyclic

FORESTS = st.lists(st.integers(0, 10**6), min_size=1, max_size=60).map(
    lambda draws: np.array([d % (i + 1) - 1 for i, d in enumerate(draws)], np.int32)
)
"""Row i has a parent among 0..i-1, or none."""


def ancestors(parent: np.ndarray, row: int) -> list[int]:
    found = []
    while parent[row] >= 0:
        row = int(parent[row])
        found.append(row)
    return found


@given(FORESTS)
def test_depth_and_root_are_those_of_the_way_up(parent: np.ndarray) -> None:
    forest = Forest(parent)
    for row in range(len(parent)):
        way = ancestors(parent, row)
        assert forest.depth[row] == len(way)
        assert forest.root[row] == (way[-1] if way else row)


@given(FORESTS, st.randoms(use_true_random=False))
def test_sums_and_extremes_run_over_a_row_and_its_ancestors(
    parent: np.ndarray, rng: Random
) -> None:
    forest = Forest(parent)
    values = np.array([rng.randint(-9, 9) for _ in parent], np.int64)
    steps = np.where(parent >= 0, values, 0).astype(np.int32)
    for row in range(len(parent)):
        way = [row, *ancestors(parent, row)]
        assert forest.summed(steps)[row] == sum(steps[r] for r in way)
        assert forest.running(np.maximum, values)[row] == max(values[r] for r in way)
        assert forest.everywhere(values > -5)[row] == all(values[r] > -5 for r in way)


@given(FORESTS, st.randoms(use_true_random=False))
def test_the_nearest_marked_is_a_proper_ancestor(parent: np.ndarray, rng: Random) -> None:
    marked = np.array([rng.random() < 0.3 for _ in parent])
    nearest = Forest(parent).nearest(marked)
    for row in range(len(parent)):
        assert nearest[row] == next((r for r in ancestors(parent, row) if marked[r]), -1)


def test_cycles_and_what_hangs_below_them_are_told_from_trees() -> None:
    #               0   1  2  3  4   5  6  7   8
    parent = [-1, 0, 3, 2, 3, 5, 8, 6, 7]
    expected = [False, False, True, True, True, True, True, True, True]
    assert cyclic(np.array(parent, np.int32)).tolist() == expected


def test_nothing_is_a_forest() -> None:
    nothing = np.zeros(0, np.int32)
    assert len(Forest(nothing).root) == 0
    assert len(cyclic(nothing)) == 0
