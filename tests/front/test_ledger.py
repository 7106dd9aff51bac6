"""The ledger of null pairs, with noise that virtual time has none of."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hopbench.comparison import ledger
from hopbench.comparison.ledger import Rate
from hopbench.engines.port import Settings
from hopbench.front.doctor import _ledger
from hopbench.runs.design import Design
from hopbench.runs.directory import RUNS, RunDir
from hopbench.runs.plan import RunPlan, comparison_of
from hopbench.statistics import Floats
from services.scenario.file.parser import parse_text

SCENARIO = """\
version: 1
name: mine
services: {order: {operations: {create: [{sleep: 1ms}]}}}
load: {rate: 60/s, duration: 10s, entry: order.create}
"""
DESIGN = Design(("baseline", "baseline"), 10, 0.95, 0.05, "response_p50", 6)
VIRTUAL = Settings("virtual", "embedded", True, 0.5, "lean", None)


def planned(duration_ns: int = 10 * 10**9) -> RunPlan:
    scenario = parse_text(SCENARIO)
    changed = replace(scenario, load=replace(scenario.load, duration_ns=duration_ns))
    return comparison_of(changed, "0" * 64, design=DESIGN, settings=VIRTUAL)


def noise(seed: int, off: float = 0.0) -> Floats:
    return off + 0.05 * np.random.default_rng(seed).standard_normal((10, 2))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / RUNS).mkdir()
    return tmp_path / RUNS / ledger.FILE


def kept(place: Path, of: RunPlan, number: int, off: float = 0.0) -> None:
    run = RunDir(place.parent / f"run-{number}")
    assert ledger.beside(run) == place
    ledger.record(of, run, {"response_p50": noise(number, off)})


def test_what_equals_have_shown_foretells_what_pairs_can_tell(place: Path) -> None:
    assert ledger.foresight(place, planned()) == "what 20 pairs can tell is not known here yet"
    for number in range(8):
        kept(place, planned(), number)
    told = ledger.foresight(place, planned())
    assert told.startswith("20 pairs here can tell ")
    assert 2 < float(told.split("tell ")[1].split(" %")[0]) < 6
    assert told.endswith("; P95, P99 cannot be told")


def test_only_comparisons_of_the_same_load_are_put_together(place: Path) -> None:
    kept(place, planned(), 1)
    assert "not known" in ledger.foresight(place, planned(duration_ns=5 * 10**9))


def test_equals_that_are_called_too_often_are_a_doubt(place: Path) -> None:
    for number in range(8):
        kept(place, planned(), number, off=0.0 if number < 4 else 1.0)
    found = ledger.rate(RunDir(place.parent / "another"), planned(), noise(8))
    assert found is not None
    assert (found.comparisons, found.pairs) == (9, 180)
    assert found.called >= 4
    assert found.too_often(0.05)
    assert not Rate(20, 400, 1, 0.05, (0.001, 0.25)).too_often(0.05)


def test_the_doctor_shows_the_ledger_of_the_directory_that_it_looks_at(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place.parent.parent)
    (check,) = _ledger()
    assert (check.ok, "no comparison here yet" in check.found) == (True, True)
    for number in range(6):
        kept(place, planned(), number)
    (check,) = _ledger()
    assert re.fullmatch(r"equals called different in \d of 6 comparisons \(.*\)", check.found)
    place.write_bytes(b"no Parquet")
    (check,) = _ledger()
    assert (check.ok, check.needed) == (False, False)


def test_a_run_that_is_told_again_counts_once(place: Path) -> None:
    for _ in range(3):
        kept(place, planned(), 1)
    found = ledger.rate(RunDir(place.parent / "run-1"), planned(), noise(1))
    assert found is not None
    assert found.comparisons == 1


def test_a_run_elsewhere_has_no_ledger(tmp_path: Path) -> None:
    assert ledger.rate(RunDir(tmp_path / "elsewhere"), planned(), noise(1)) is None


def test_comparisons_of_so_few_pairs_that_nothing_can_be_called_do_not_thin_the_rate_out(
    place: Path,
) -> None:
    run = RunDir(place.parent / "run-2")
    kept(place, planned(), 1)
    ledger.record(planned(), run, {"response_p50": noise(2)[:2]})
    found = ledger.rate(RunDir(place.parent / "another"), planned(), None)
    assert found is not None
    assert found.comparisons == 1
