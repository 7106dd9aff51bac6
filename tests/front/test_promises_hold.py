"""What findings promise, held against other rounds: of 500 random scenarios in virtual time, and of
30 of them on real processes."""

from __future__ import annotations

import multiprocessing
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from tests.front.locally import Measured, measured
from tests.front.promised import MUCH, OTHER_ROUNDS, Judged, Promise, judged

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

SCENARIOS = 500
LOCAL = 30
_EXACT_MS = 1e-6
"""Half a nanosecond and a bit: what dividing by a million may do."""


@pytest.fixture(scope="module")
def all_judged() -> list[Judged]:
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        return list(pool.map(judged, range(SCENARIOS), chunksize=5))


@pytest.fixture(scope="module")
def promised(all_judged: list[Judged]) -> list[Promise]:
    return [p for of in all_judged for p in of.proposed if p.high > 0]


def test_every_refactor_that_is_proposed_applies(all_judged: list[Judged]) -> None:
    proposed = sum(len(of.proposed) for of in all_judged)
    print(f"{proposed} refactors proposed for {len(all_judged)} scenarios")
    assert proposed > SCENARIOS // 2
    assert [refused for of in all_judged for refused in of.refused] == []


def test_gains_of_other_rounds_lie_in_the_range_that_was_promised(promised: list[Promise]) -> None:
    inside, all_ = Counter[str](), Counter[str]()
    for promise in promised:
        all_[promise.op] += OTHER_ROUNDS
        inside[promise.op] += sum(_holds(promise, gain) for gain in promise.gains)
    for op, number in all_.items():
        print(f"{op}: {inside[op]} of {number} gains in range")
    print(f"all: {inside.total()} of {all_.total()}")
    assert inside.total() >= 0.9 * all_.total()


def test_nothing_is_promised_of_a_refactor_that_does_not_help(promised: list[Promise]) -> None:
    assert [p for p in promised if max(gain or 0.0 for gain in p.gains) <= 0] == []


def test_where_a_refactor_gives_much_something_is_promised(all_judged: list[Judged]) -> None:
    much = [of for of in all_judged if of.best[0] >= MUCH]
    silent = [of for of in much if not any(p.high > 0 for p in of.proposed)]
    print(f"{len(much)} scenarios where a refactor gives a tenth, {len(silent)} without a promise:")
    for of in silent:
        print(f"  {of.number}: {of.best[1]} gives {of.best[0]:.0%}")
    assert len(much) > SCENARIOS // 2
    assert len(silent) <= 0.1 * len(much)


def test_gains_on_real_processes_lie_in_the_range_that_was_promised(tmp_path: Path) -> None:
    """As far as can be told: where requests scatter, the gain that was measured is a range, too."""
    found: list[Measured] = []
    number = 0
    while len(found) < LOCAL and number < 2 * LOCAL:
        place = tmp_path / str(number)
        place.mkdir()
        one = measured(number, place)
        if one is not None:
            found.append(one)
        number += 1
    kept = sum(one.kept for one in found)
    print(f"{kept} of {len(found)} kept, of {number} scenarios")
    for one in found:
        print(f"  {one}")
    assert len(found) >= LOCAL // 2
    assert 2 * kept >= len(found)


def _holds(promise: Promise, gain: float | None) -> bool:
    return gain is not None and promise.low - _EXACT_MS <= gain <= promise.high + _EXACT_MS
