"""What a refactor gives on real processes, beside what the run on them promised."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson
import polars as pl

from analysis.analyse import observe
from analysis.findings.settings import Settings
from hopbench.exits import Exit
from hopbench.results.promises.gains import Answered, answered, at_tail, gain_ns, pairs, range_ns
from hopbench.results.promises.requests import Part, asked
from hopbench.results.promises.transport import transport
from hopbench.runs import plan, trial
from hopbench.runs.directory import RunDir
from loadgen.samples import OK, STATUSES
from loadgen.schedule import MEASURED, arrivals
from services.scenario.facts import facts_of
from services.scenario.refactors import BASELINE
from services.transports.memory import Latency
from tests.front.promised import refactor_of
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
    """One round of the scenario, and one with what it promises to give most; None where it promises
    nothing."""
    source = text(number, rate=20, duration="1500ms", warmup="500ms", processes=2)
    of = orjson.loads(_run(source, directory / BASELINE).findings.read_bytes())["variants"][0]
    promised = [f for f in (*of["findings"], *of["minor"]) if f["saving_ms"][0]]
    if not promised:
        return None
    best = max(promised, key=lambda finding: finding["saving_ms"][0])
    refactor = best["refactor"]
    variants = json.dumps({"tried": [refactor]})
    _run(f"{source}variants: {variants}\n", directory / "tried", "--variant", "tried")
    latency = _transport(RunDir(directory / BASELINE))
    took = {name: _took_ns(RunDir(directory / name)) for name in (BASELINE, "tried")}
    ways = {name: _simulated(RunDir(directory / name), latency) for name in took}
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
    if len(both) == 0:
        return Measured(refactor["op"], tuple(best["saving_ms"]), 0.0, (0.0, 0.0))
    between = range_ns(told, [both], _NO_END)
    return Measured(
        refactor["op"],
        tuple(best["saving_ms"]),
        float(gain_ns(told, both)) / 1e6,
        (between[0] / 1e6, between[1] / 1e6),
    )


def _run(source: str, out: Path, *flags: str) -> RunDir:
    path = out.with_suffix(".yaml")
    path.write_text(source)
    usual = ("--engine", "local", "--rounds", 1, "--trace-ratio", 1, "--out", out)
    code = invoke("run", path, *usual, *flags)
    assert code in (Exit.DONE, Exit.VOID, Exit.FAILED), code
    return RunDir(out)


def _transport(run: RunDir) -> Latency:
    ran = plan.read(run)
    (turn,) = ran.order
    found = trial.read(run, ran, turn)
    assert found is not None
    facts = facts_of(ran.scenarios[turn.variant])
    return transport(observe(found.measured_spans(), facts, Settings(), "run"), ran)[-1]


def _took_ns(run: RunDir) -> dict[int, int]:
    (turn,) = plan.read(run).order
    samples = pl.read_parquet(run.trial(turn.round, turn.variant).samples)
    good = samples.filter((pl.col("phase") == "measured") & (pl.col("status") == STATUSES[OK]))
    return {row["seq"]: row["done_ns"] - row["sent_ns"] for row in good.iter_rows(named=True)}


def _simulated(run: RunDir, latency: Latency) -> Answered:
    """The same round in virtual time, which tells the ways that its requests took."""
    ran = plan.read(run)
    (turn,) = ran.order
    scenario = ran.scenarios[turn.variant]
    due = arrivals(scenario.load, turn.seed)
    rows = zip(due.number.tolist(), due.offset_ns.tolist(), due.entry.tolist(), strict=True)
    lead = int((due.phase != MEASURED).sum())
    part = Part(turn.seed, tuple(asked(*row) for row in rows), lead)
    return answered(scenario, part, scenario.load.warmup_ns, latency)
