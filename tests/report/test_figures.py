from __future__ import annotations

import pytest

from analysis import figures


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0.0, "0 ms"),
        (0.0123, "12.3 µs"),
        (0.1, "0.100 ms"),
        (0.9996, "1.000 ms"),
        (12.345, "12.3 ms"),
        (1234.5, "1,230 ms"),
        (61_234.0, "61.2 s"),
        (-3.21, "-3.21 ms"),
    ],
)
def test_milliseconds_have_three_digits_and_a_unit(value: float | None, text: str) -> None:
    assert figures.ms(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (200, "200 B"), (2048, "2.00 KiB"), (5 * 1024**2, "5.00 MiB")],
)
def test_sizes_are_binary(value: float | None, text: str) -> None:
    assert figures.size(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (7.0, "7"), (1234, "1,234"), (6.667, "6.67")]
)
def test_counts_are_whole_where_they_are_whole(value: float | None, text: str) -> None:
    assert figures.count(value) == text


def test_a_range_has_one_unit_where_its_ends_have_it() -> None:
    assert figures.span(12.0, 15.0) == "12.0–15.0 ms"
    assert figures.span(13.01, 13.02) == "13.0 ms"
    assert figures.span(0.05, 0.2) == "50.0 µs to 0.200 ms"
    assert figures.span(0.0, 0.0) == figures.span(None, None) == ""


def test_a_ratio_to_zero_or_to_nothing_is_not_known() -> None:
    assert figures.ratio(1.0, 0.0) == figures.ratio(None, 1.0) == figures.ratio(1.0, None) == "–"
    assert figures.ratio(30.0, 60.0) == "×0.500"
