"""What `hopbench compare` says on this machine where the truth is known.

    python -m benchmarks.real_rounds DIRECTORY null [COUNT]
    python -m benchmarks.real_rounds DIRECTORY shifts
    python -m benchmarks.real_rounds variance RUN…

null: comparisons of a design with itself, COUNT (40) of them, each with a seed of its own; five may
leave 1 out. shifts: a fault adds 1 ms, 5 % and 20 % to each request and `without` takes it away:
the interval should hold what is added. Both take hours and want the machine for themselves; called
again they go on where they were. The runs, with their ledger, lie in DIRECTORY/runs.
variance: of the log P50 and P95 of a round, how much lies between blocks (minutes), between rounds
(processes) and within, by scenario; RUN is the directory of a comparison.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any, Final

import orjson

from hopbench.comparison.document import comparisons
from hopbench.comparison.judgement import judged
from hopbench.comparison.measured import PARTS
from hopbench.results.summary import summarise
from hopbench.runs import plan
from hopbench.runs.directory import RunDir
from hopbench.statistics import binomial
from hopbench.statistics.variance import Variance

PAIRS: Final = 8
LENGTHS: Final = ("--warmup", "1s", "--duration", "5s")
MOST_CALLED: Final = 5
SCENARIO: Final = """
version: 1
name: shifted
services:
  order:
    operations:
      create: [{call: stock.reserve, count: 6, id: reserve}]
  stock: {operations: {reserve: [sleep: 2ms]}}
faults:
  - {id: added, latency: %s, at: {service: order}}
load: {rate: 50/s, duration: 5s, warmup: 1s, entry: order.create}
variants:
  without: {refactors: [{op: without, fault: added}]}
"""
P50_MS: Final = 17.0
"""About what it takes without the fault, for shares of it."""
METRICS: Final = ("response_p50", "response_p95")
SHIFTS: Final = {"1 ms": 1.0, "5 %": 0.05 * P50_MS, "20 %": 0.20 * P50_MS}


def compared(runs: Path, name: str, words: Sequence[str]) -> dict[str, Any]:
    """The verdict of a comparison that is there, is taken up again, or is made."""
    run = runs / name
    hopbench = [sys.executable, "-m", "hopbench", "compare", "--quiet"]
    if not (run / "plan.json").is_file():
        subprocess.run([*hopbench, *words, "--out", str(run)], check=False, stdout=subprocess.PIPE)
    verdict = run / "verdict.json"
    if not verdict.is_file() or any(
        doubt["code"] == "unfinished" for doubt in orjson.loads(verdict.read_bytes())["doubts"]
    ):
        subprocess.run([*hopbench, "--resume", str(run)], check=False, stdout=subprocess.PIPE)
    found: dict[str, Any] = orjson.loads(verdict.read_bytes())
    return found


def null(runs: Path, count: int) -> int:
    found = []
    for seed in range(1, count + 1):
        words = ("chatty", "--variants", "baseline,baseline", "--pairs", str(PAIRS))
        one = compared(runs, f"null-{seed:02}", (*words, *LENGTHS, "--seed", str(seed)))
        found.append(one)
        print(f"{seed:2}  {_line(one)}  load {os.getloadavg()[0]:.1f}", flush=True)
    told = [one for one in found if one["verdict"] != "void"]
    called = sum(not _holds(one, 1.0) for one in told)
    low, high = binomial.interval(called, len(told), 0.05)
    print(
        f"{called} of {len(told)} leave 1 out ({low:.1%} to {high:.1%}); {count - len(told)} void"
    )
    return int(called > MOST_CALLED)


def shifts(runs: Path) -> int:
    held = []
    for name, added_ms in SHIFTS.items():
        scenario = runs.parent / f"shifted-{added_ms:g}.yaml"
        scenario.write_text(SCENARIO % f"{added_ms:g}ms")
        words = (str(scenario), "--variants", "without,baseline", "--pairs", "20")
        one = compared(runs, f"shift-{added_ms:g}", (*words, *LENGTHS))
        base = _primary(one)["a"]
        truth = (base + added_ms) / base
        held.append(_holds(one, truth))
        print(f"{name:>5} added: {truth:.4f}  {_line(one)}  {'held' if held[-1] else 'MISSED'}")
    print(f"{sum(held)} of {len(held)} held")
    return int(not all(held))


def _primary(verdict: dict[str, Any]) -> dict[str, Any]:
    first: dict[str, Any] = next(row for row in verdict["metrics"] if row["primary"])
    return first


def _holds(verdict: dict[str, Any], ratio: float) -> bool:
    low, high = _primary(verdict)["interval"]
    return bool((low or 0) <= ratio <= (high or float("inf")))


def _line(verdict: dict[str, Any]) -> str:
    if not verdict["metrics"]:
        return "void"
    row = _primary(verdict)
    low, high = row["interval"]
    return (
        f"{row['ratio']:.4f} [{low or 0:.4f}, {high or float('inf'):.4f}] {verdict['verdict']}, "
        f"{verdict['pairs']} pairs, {verdict['void_rounds']} rounds void, "
        f"{verdict['repeated_blocks']} blocks again"
    )


def variance(runs: Sequence[Path]) -> int:
    found: dict[tuple[str, str], list[Variance]] = {}
    for path in runs:
        run = RunDir(path)
        planned = plan.read(run)
        assert planned.design is not None
        summary = summarise(planned, run)
        for metric in METRICS:
            of = replace(planned, design=replace(planned.design, metric=metric))
            said = comparisons(judged(of, run, summary).document)[0].variance
            if said is not None:
                found.setdefault((planned.scenario.name, metric), []).append(said)
    print("| scenario | runs | | standard deviation | minutes | processes | within |")
    print("|---|--:|---|--:|--:|--:|--:|")
    for (scenario, metric), each in found.items():
        parts = [
            mean(one.between_slices for one in each),
            mean(one.between_restarts for one in each),
            mean(one.within for one in each) / PARTS,
        ]
        whole = sum(parts)
        shares = " | ".join(f"{part / whole:.0%}" for part in parts)
        name = metric.removeprefix("response_").upper()
        print(f"| {scenario} | {len(each)} | {name} | {100 * whole**0.5:.1f} % | {shares} |")
    return 0


def main(arguments: Sequence[str]) -> int:
    match arguments:
        case ["variance", *runs]:
            return variance([Path(run) for run in runs])
        case [directory, "null"]:
            return null(Path(directory) / "runs", 40)
        case [directory, "null", count]:
            return null(Path(directory) / "runs", int(count))
        case [directory, "shifts"]:
            (Path(directory) / "runs").mkdir(parents=True, exist_ok=True)
            return shifts(Path(directory) / "runs")
    print(__doc__)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
