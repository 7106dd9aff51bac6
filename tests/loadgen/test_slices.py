"""Slices: an arm's schedule in turns with another's, and what was recorded put back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.schedule import MEASURED, WARMUP, arrivals
from loadgen.slices import Slices, laid_out, placed, sliced
from services.scenario.file.parser import parse_text

MS = 1_000_000
LENGTHS = {"length_ns": 1000 * MS, "gap_ns": 200 * MS, "left_out_ns": 300 * MS}
LOAD = parse_text(
    """
version: 1
services: {order: {operations: {create: [sleep: 1ms]}}}
load: {rate: 200/s, duration: 4s, warmup: 2s, entry: order.create}
""",
    "a.yaml",
).load


@given(st.integers(0, 1000), st.integers(2, 4), st.integers(1, 9))
def test_at_any_time_one_arm_is_loaded_and_each_as_often(seed: int, arms: int, count: int) -> None:
    found = laid_out(seed, arms, count, **LENGTHS)
    begins = sorted(start for each in found for start in each.starts_ns)
    assert begins == [n * 1200 * MS for n in range(arms * count)]
    assert {len(each.starts_ns) for each in found} == {count}
    for turn in range(count):
        of_turn = {each.starts_ns[turn] // (1200 * MS) // arms for each in found}
        assert of_turn == {turn}


def test_the_order_is_drawn_anew_for_each_turn() -> None:
    first, second = laid_out(7, 2, 40, **LENGTHS)
    leads = [a < b for a, b in zip(first.starts_ns, second.starts_ns, strict=True)]
    assert 10 < sum(leads) < 30
    assert laid_out(7, 2, 40, **LENGTHS) == (first, second)
    assert laid_out(8, 2, 40, **LENGTHS) != (first, second)


@given(st.integers(0, 100), st.lists(st.integers(0, 6 * 1000 * MS - 1), min_size=1, max_size=50))
def test_times_come_back_to_what_they_were(seed: int, own: list[int]) -> None:
    """Also of requests that end long after their slice."""
    for slices in laid_out(seed, 2, 6, **LENGTHS):
        due = np.sort(np.array(own, np.int64))
        sitting = slices.sitting(due)
        assert (np.diff(sitting) >= np.diff(due)).all()
        assert (slices.own(sitting, sitting) == due).all()
        assert (slices.own(sitting, sitting + 5000 * MS) == due + 5000 * MS).all()


def test_every_arm_is_asked_the_same_in_its_own_slices() -> None:
    every = arrivals(LOAD, 3)
    for slices in laid_out(1, 2, 6, **LENGTHS):
        sent = placed(every, slices)
        assert (sent.chance == every.chance).all()
        inside = (sent.offset_ns[:, None] - np.array(slices.starts_ns)) // (1000 * MS) == 0
        assert (inside.sum(axis=1) == 1).all()
        assert sent.offset_ns.max() < slices.ends_ns


def test_the_beginning_of_a_slice_is_left_out_and_warm_up_stays() -> None:
    every = arrivals(LOAD, 3)
    (slices, _) = laid_out(1, 2, 6, **LENGTHS)
    found = sliced(every, slices)
    inside = every.offset_ns % (1000 * MS)
    warm = every.offset_ns < 2000 * MS
    assert (found.phase[warm] == WARMUP).all()
    assert (found.phase[~warm & (inside < 300 * MS)] == WARMUP).all()
    assert (found.phase[~warm & (inside >= 300 * MS)] == MEASURED).all()
    assert sliced(every, None) is every


@pytest.mark.parametrize(("ends_ms", "late"), [(1100, False), (1200, False), (1201, True)])
def test_what_ends_in_another_slice_is_late(ends_ms: int, late: bool) -> None:
    slices = Slices(1000 * MS, (0, 2400 * MS), 0, 1200 * MS)
    due = np.array([900 * MS, 1900 * MS])
    ends = np.array([ends_ms * MS, (1000 + ends_ms) * MS])
    assert slices.late(due, ends).tolist() == [late, late]
