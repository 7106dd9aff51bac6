from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.arrays import intervals

INTERVALS = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 30), st.integers(0, 10)), max_size=25
)


def columns(rows: list[tuple[int, int, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    group, start, length = (np.array([r[i] for r in rows], np.int64) for i in range(3))
    return group, start, start + length


@given(INTERVALS)
def test_the_union_counts_every_instant_once(rows: list[tuple[int, int, int]]) -> None:
    covered = [
        len({t for g, s, n in rows if g == group for t in range(s, s + n)}) for group in range(3)
    ]
    assert intervals.union(*columns(rows), 3).tolist() == covered


@pytest.mark.parametrize(
    ("rows", "most"),
    [
        ([], 0),
        ([(0, 5), (5, 9)], 1),  # ends before it starts, on a tie
        ([(0, 5), (4, 9)], 2),
        ([(0, 9), (1, 2), (3, 4)], 2),
        ([(3, 3)], 1),  # an instant
        ([(0, 3), (3, 3), (3, 6)], 2),
    ],
)
def test_the_peak_is_the_most_in_flight(rows: list[tuple[int, int]], most: int) -> None:
    start, end = (np.array([r[i] for r in rows], np.int64) for i in range(2))
    assert intervals.peak(np.zeros(len(rows), np.int64), start, end, 1).tolist() == [most]


@given(INTERVALS)
def test_groups_do_not_disturb_each_other(rows: list[tuple[int, int, int]]) -> None:
    together = intervals.peak(*columns(rows), 3)
    for group in range(3):
        alone = [(0, s, n) for g, s, n in rows if g == group]
        assert intervals.peak(*columns(alone), 1)[0] == together[group]


@given(INTERVALS, st.integers(0, 4))
def test_what_is_in_flight_at_the_peak_and_beside_some(
    rows: list[tuple[int, int, int]], above: int
) -> None:
    """Against every instant by itself; an interval without length is in flight at its own."""
    of, start, end = columns(rows)
    marked = np.arange(len(rows)) % 2 == 0
    full = intervals.at_peak(of, start, end, 3)
    besides = intervals.most_besides(of, start, end, 3, marked=marked, above=above)
    for group in range(3):
        mine = [
            {i for i, (g, s, n) in enumerate(rows) if g == group and (s <= t < s + n or s == t)}
            for t in range(31)
        ]
        most = max(map(len, mine))
        assert set(np.flatnonzero(full & (of == group)).tolist()) == (
            next(there for there in mine if len(there) == most) if most else set()
        )
        stormy = [len([i for i in there if i % 2]) for there in mine if len(there) > above]
        assert besides[group] == max(stormy, default=0)
