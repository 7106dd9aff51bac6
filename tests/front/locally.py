"""What a refactor gives on real processes, beside what the run on them promised."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson
import polars as pl

from hopbench.exits import Exit
from hopbench.results.promises import (
    Answered,
    Part,
    answered,
    asked,
    at_tail,
    gain_ns,
    pairs,
    range_ns,
)
from hopbench.runs import plan
from hopbench.runs.directory import RunDir
from loadgen.samples import OK, STATUSES
from loadgen.schedule import MEASURED, arrivals
from services.scenario.refactors import BASELINE
from tests.front.promised import findings_of, refactor_of
from tests.front.random_scenarios import text
from tests.front.test_run import invoke

_NO_END: Final = 1_000_000
"""Requests: so many that the chance of theirs is none."""


@dataclass(frozen=True)
class Measured:
    """Times in ms: the range that was promised, and where the gain lies that was measured, given
    what single requests were scattered by."""

    op: str
    promised: tuple[float, float]
    gain: float
    between: tuple[float, float]

    @property
    def kept(self) -> bool:
        return self.promised[0] <= self.between[1] and self.between[0] <= self.promised[1]


def measured(number: int, directory: Path) -> Measured | None:
    """One round of the scenario, and one with what is promised to give most in virtual time; None
    where nothing is, or where the run of real processes does not promise anything of it."""
    source = text(number, rate=20, duration="1500ms", warmup="500ms", processes=2)
    (directory / "virtual").mkdir()
    _, found = findings_of(source, directory / "virtual")
    promised = [f for f, _ in found if f.refactor and f.saving_ms[0]]
    if not promised:
        return None
    refactor = dict(max(promised, key=lambda f: f.saving_ms[0] or 0).refactor or {})
    variant = json.dumps({"tried": [refactor]})
    (directory / "mine.yaml").write_text(f"{source}variants: {variant}\n")
    out = directory / "run"
    flags = ("--engine", "local", "--rounds", 1, "--trace-ratio", 1)
    code = invoke("run", directory / "mine.yaml", *flags, "--out", out)
    assert code in (Exit.DONE, Exit.VOID, Exit.FAILED), code
    of = orjson.loads(RunDir(out).findings.read_bytes())["variants"][0]
    here = [
        f["saving_ms"]
        for f in (*of["findings"], *of["minor"])
        if f["refactor"] and _place(f["refactor"]) == _place(refactor) and f["saving_ms"][1]
    ]
    if not here:
        return None
    ran = plan.read(RunDir(out))
    took = {turn.variant: _took_ns(RunDir(out), turn) for turn in ran.order}
    ways = {name: _simulated(ran, name) for name in took}
    told, simulated = refactor_of(json.dumps(refactor)), ways[BASELINE].took_ns
    changed = {
        n for n, ns in simulated.items() if at_tail(told) or ways["tried"].took_ns.get(n, ns) != ns
    }
    before, after = (
        Answered(
            {n: ns for n, ns in took[name].items() if n in changed},
            ways[name].users,
            ways[name].wires,
        )
        for name in (BASELINE, "tried")
    )
    both = pairs(told, before, after)
    between = range_ns(told, [both], _NO_END)
    return Measured(
        refactor["op"],
        here[0],
        float(gain_ns(told, both)) / 1e6,
        (between[0] / 1e6, between[1] / 1e6),
    )


def _place(refactor: dict[str, Any]) -> tuple[object, object]:
    return refactor["op"], refactor.get("edge", refactor.get("at"))


def _took_ns(run: RunDir, turn: plan.Turn) -> dict[int, int]:
    samples = pl.read_parquet(run.trial(turn.round, turn.variant).samples)
    good = samples.filter((pl.col("phase") == "measured") & (pl.col("status") == STATUSES[OK]))
    return {row["seq"]: row["done_ns"] - row["sent_ns"] for row in good.iter_rows(named=True)}


def _simulated(ran: plan.RunPlan, variant: str) -> Answered:
    """The same round in virtual time, which tells the ways that its requests took."""
    (turn,) = [turn for turn in ran.order if turn.variant == variant]
    scenario = ran.scenarios[variant]
    due = arrivals(scenario.load, turn.seed)
    rows = zip(due.number.tolist(), due.offset_ns.tolist(), due.entry.tolist(), strict=True)
    lead = int((due.phase != MEASURED).sum())
    part = Part(turn.seed, tuple(asked(*row) for row in rows), lead)
    return answered(scenario, part, scenario.load.warmup_ns)
