"""Quantities: what is read, what is refused with which hint, and that nothing is lost."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.scenario.text import units
from services.scenario.text.units import Unreadable

positive = st.floats(min_value=0, max_value=9e18, allow_subnormal=False)


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("10ms", 10_000_000),
        ("0.1ms", 100_000),
        ("1.5s", 1_500_000_000),
        ("2min", 120_000_000_000),
        ("3us", 3_000),
        ("3µs", 3_000),  # micro sign
        ("3μs", 3_000),  # greek mu
        ("1h", 3_600_000_000_000),
        ("7 ns", 7),
        ("1e-3s", 1_000_000),
        ("0", 0),
        (0, 0),
    ],
)
def test_times_are_exact_nanoseconds(text: object, ns: int) -> None:
    assert units.duration(text) == ns


@pytest.mark.parametrize(
    ("text", "size"),
    [("200B", 200), (200, 200), ("4KiB", 4096), ("4kB", 4000), ("1.5MiB", 1572864), ("0B", 0)],
)
def test_sizes_are_bytes_and_need_no_unit(text: object, size: float) -> None:
    assert units.size(text) == size


@pytest.mark.parametrize(
    ("text", "rate"), [("200/s", 200), (200, 200), ("30/min", 0.5), ("7200/h", 2), ("0.5/s", 0.5)]
)
def test_rates_are_per_second(text: object, rate: float) -> None:
    assert units.rate(text) == rate


@pytest.mark.parametrize(
    ("text", "share"), [("25%", 0.25), (0.25, 0.25), ("100%", 1), (1, 1), ("0%", 0), ("0.1%", 1e-3)]
)
def test_probabilities_lie_between_zero_and_one(text: object, share: float) -> None:
    assert units.probability(text) == share


@pytest.mark.parametrize(
    ("read", "text", "hint"),
    [
        (units.duration, 10, "10ms or 10s"),
        (units.duration, "10", "10ms or 10s"),
        (units.duration, "10m", "min (minutes) or ms"),
        (units.duration, "10 seconds", "did you mean s?"),
        (units.duration, "10KiB", "known units: ns, us"),
        (units.duration, "10mss", "did you mean ms?"),
        (units.duration, "10MS", "did you mean ms?"),
        (units.duration, "-1ms", "10ms"),
        (units.duration, "fast", "10ms"),
        (units.duration, True, "10ms"),
        (units.size, "10KB", "kB (1000) or KiB (1024)"),
        (units.size, "10ms", "known units: B"),
        (units.rate, "200rps", "did you mean /s?"),
        (units.probability, 25, "did you mean 25%?"),
        (units.probability, "25 percent", "write 25% or 0.25"),
    ],
)
def test_a_wrong_quantity_is_refused_with_what_would_be_right(
    read: object, text: object, hint: str
) -> None:
    assert callable(read)
    with pytest.raises(Unreadable) as refused:
        read(text)
    assert str(text) in refused.value.text
    assert hint in (refused.value.hint or "")


@pytest.mark.parametrize("text", ["0.1ns", "1e999s", "9e18s", "nan", "inf", "1_000ms", "٣ms"])
def test_what_no_clock_could_keep_is_refused(text: str) -> None:
    with pytest.raises(Unreadable):
        units.duration(text)


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    for read in (units.duration, units.time, units.size, units.rate, units.probability):
        with suppress(Unreadable):
            assert read(text) >= 0


@given(st.integers(min_value=0, max_value=2**63 - 1))
def test_whole_nanoseconds_come_back_as_written(ns: int) -> None:
    assert units.duration(units.time_text(ns)) == ns


@given(positive)
def test_every_time_comes_back_as_written(ns: float) -> None:
    assert units.time(units.time_text(ns)) == ns


@given(positive)
def test_every_size_comes_back_as_written(size: float) -> None:
    assert units.size(units.size_text(size)) == size


@given(st.floats(min_value=1e-6, max_value=1e9))
def test_every_rate_comes_back_as_written(rate: float) -> None:
    assert units.rate(units.rate_text(rate)) == rate


@given(st.floats(min_value=0, max_value=1))
def test_every_probability_comes_back_as_written(share: float) -> None:
    assert units.probability(units.probability_text(share)) == share


@pytest.mark.parametrize(
    ("ns", "text"), [(0, "0ns"), (1500, "1.5us"), (10_000_000, "10ms"), (90 * 10**9, "90s")]
)
def test_times_are_written_in_the_largest_unit_that_they_fill(ns: int, text: str) -> None:
    assert units.time_text(ns) == text
