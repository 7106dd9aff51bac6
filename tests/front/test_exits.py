from __future__ import annotations

import pytest

from hopbench.exits import Exit, worst


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ([], 0),
        ([0, 0], 0),
        ([0, 4], 4),
        ([4, 1], 1),
        ([1, 3], 3),
        ([3, 5], 5),
        ([5, 2], 2),
        ([2, 70], 70),
        ([70, 130], 130),
        ([130, 143, 0], 143),
    ],
)
def test_the_worst_code_wins_in_the_order_of_the_design(codes: list[int], expected: int) -> None:
    assert worst(Exit(code) for code in codes) == expected
    assert worst(Exit(code) for code in reversed(codes)) == expected
