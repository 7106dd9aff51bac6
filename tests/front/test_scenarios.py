"""Every bundled scenario shows what it says, and its variants remove it.

The same kinds, places and counts per request on the simulated clock, on real processes, and under
both instrumentations.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from hopbench import cli
from hopbench.exits import Exit
from services.scenario.file.parser import bundled

Places = dict[str, Any]
WHERE = ("caller", "caller_operation", "callee", "operation", "protocol", "instance")
SHORT = ("--duration", "5s", "--warmup", "1s")
"""What every round takes here: 38 of them are real. Each has a hundred traced requests or so."""


def summary(directory: Path, name: str, *arguments: str) -> dict[str, Any]:
    code = cli.invoke(["run", name, "--quiet", "--out", str(directory / name), *arguments])
    document: dict[str, Any] = orjson.loads((directory / name / "summary.json").read_bytes())
    assert code == Exit.DONE
    return document


def shows_what_it_says(of: dict[str, Any]) -> None:
    for variant in of["variants"]:
        assert [e for e in variant["expectations"] if e["met"] is not True] == []
        assert variant["unexpected"] == []


def evidence_is_whole(of: dict[str, Any]) -> None:
    # How often a hedge asks twice hangs on time: nobody can say beforehand.
    hedged = {v["name"] for v in of["variants"] if "hedge" in {r["op"] for r in v["refactors"]}}
    for trial in of["trials"]:
        spans, load = trial["spans"], trial["load"]
        assert spans["lost"] == 0
        if trial["variant"] not in hedged:
            assert spans["received"] == spans["by_scenario"]
        assert abs(load["achieved_rps"] / load["offered_rps"] - 1) <= 0.02
        assert trial["requests"]["complete"] == trial["requests"]["sampled"]
        mismatches = {d["code"] for d in trial["doubts"]} & {
            "spans_lost", "spans_mismatch", "metrics_mismatch", "samples_mismatch",
            "consumed_produced", "arrivals", "sampling", "undrained", "failures",
        }  # fmt: skip
        assert mismatches == set()


def places(of: dict[str, Any]) -> Places:
    """By variant: findings as kinds, places and counts, and calls per request of every edge."""
    found: Places = {}
    for variant in of["variants"]:
        (trial,) = [t for t in of["trials"] if t["variant"] == variant["name"]]
        found[variant["name"]] = (
            sorted(
                (
                    f["kind"],
                    *(f["where"][key] or "" for key in WHERE),
                    f["count_per_request"]["p50"],
                )
                for f in variant["findings"]
            ),
            {
                (e["caller"], e["callee"], e["operation"], e["protocol"]): e["calls_per_request"]
                for e in trial["edges"]
            },
        )
    return found


@pytest.mark.parametrize("length", [SHORT, pytest.param((), marks=pytest.mark.slow, id="whole")])
@pytest.mark.parametrize("name", bundled())
def test_on_the_simulated_clock(name: str, length: tuple[str, ...], tmp_path: Path) -> None:
    of = summary(tmp_path, name, "--engine", "virtual", *length)
    shows_what_it_says(of)
    evidence_is_whole(of)
    for trial in of["trials"]:
        assert not trial["void"]


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("instrumentation", ["lean", "official"])
@pytest.mark.parametrize("name", bundled())
def test_on_real_processes_as_on_the_simulated_clock(
    name: str, instrumentation: str, tmp_path: Path
) -> None:
    (tmp_path / "virtual").mkdir()
    simulated = summary(tmp_path / "virtual", name, "--engine", "virtual", *SHORT)
    real = summary(tmp_path, name, "--instrumentation", instrumentation, *SHORT)
    shows_what_it_says(real)
    evidence_is_whole(real)
    assert places(real) == places(simulated)
