"""`hopbench saturate` in virtual time, where a bound on concurrency says what is held."""

from __future__ import annotations

from pathlib import Path

import pytest

from hopbench.exits import Exit
from hopbench.saturation.step import predicted
from tests.command_line import Hopbench
from tests.documents import conforms

BOUND = """\
version: 1
name: bound
services:
  order: {workers: 2, operations: {create: [sleep: 10ms]}}
load: {rate: 50/s, arrivals: uniform, duration: 4s, warmup: 1s, entry: order.create}
"""
KNEE_RPS = 200
"""Two at a time, each for 10 ms."""


@pytest.fixture
def bound(tmp_path: Path) -> Path:
    path = tmp_path / "bound.yaml"
    path.write_text(BOUND)
    return path


@pytest.mark.slow
def test_the_knee_is_where_the_bound_is(bound: Path, hopbench: Hopbench) -> None:
    found = hopbench("saturate", bound, "--engine", "virtual", "--json", "-")
    assert found.code is Exit.DONE
    conforms(found.document)
    assert found.document["knee_rps"] == pytest.approx(KNEE_RPS, rel=0.06)
    outcomes = {step["outcome"] for step in found.document["steps"]}
    assert outcomes == {"held", "saturated"}
    assert found.document["sentence"].startswith("The knee is at ")
    assert found.document["predicted_rps"] is None


@pytest.mark.slow
def test_an_objective_is_missed_before_the_bound_is_reached(
    bound: Path, hopbench: Hopbench
) -> None:
    bound.write_text(BOUND.replace("arrivals: uniform, ", ""))
    words = ("--engine", "virtual", "--objective", "response_p95_ms < 15", "--json", "-")
    found = hopbench("saturate", bound, *words)
    assert found.code is Exit.DONE
    assert found.document["knee_rps"] < 0.8 * KNEE_RPS
    assert "misses the objective: response_p95_ms < 15" in found.document["sentence"]


def test_where_nothing_gives_out_it_says_at_least(bound: Path, hopbench: Hopbench) -> None:
    words = ("--engine", "virtual", "--most", "60/s", "--duration", "1s", "--json", "-")
    found = hopbench("saturate", bound, *words)
    assert found.code is Exit.INCONCLUSIVE
    conforms(found.document)
    assert (found.document["knee_rps"], found.document["at_least_rps"]) == (None, 60)
    assert found.document["sentence"] == "At least 60.0/s: nothing gave out."


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--start", "90/s", "--most", "60/s"), "--start 90/s is above --most 60/s"),
        (("--within", "0.1%"), "no round tells rates apart that well"),
        (("--objective", "response_p95 < 3"), "response_p95"),
        (("--engine", "compose"), "beside the bench so far"),
        (("--variant", "no"), "has no variant 'no'"),
    ],
)
def test_what_cannot_be_searched_is_refused(
    bound: Path, hopbench: Hopbench, words: tuple[str, ...], said: str
) -> None:
    engine = () if "--engine" in words else ("--engine", "virtual")
    found = hopbench("saturate", bound, *words, *engine)
    assert found.code is Exit.BAD_INPUT
    assert said in found.err
    assert not (hopbench.directory / "runs").exists()


def test_a_load_without_a_rate_cannot_be_raised(bound: Path, hopbench: Hopbench) -> None:
    bound.write_text(BOUND.replace("rate: 50/s, arrivals: uniform", "model: closed, users: 3"))
    assert "has not one rate to raise" in hopbench("saturate", bound).err


def test_the_utilisation_law_names_what_gives_out_first() -> None:
    """A request takes 4 ms of CPU time in one process: 250 a second, whatever the cores."""
    found = predicted([("order/0", 4000.0), ("stock/0", 500.0)], 500.0, cores=4)
    assert found is not None
    assert found.rps == pytest.approx(250)
    assert found.bottleneck == "the process of order/0"
    on_two = predicted([("order/0", 1000.0), ("stock/0", 900.0)], 500.0, cores=2)
    assert on_two is not None
    assert on_two.rps == pytest.approx(1e6 / 1200)
    assert on_two.bottleneck == "2 cores, the generator's share among them"
    assert predicted([], 0.0, cores=2) is None
