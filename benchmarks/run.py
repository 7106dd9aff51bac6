"""How long the first run of a newcomer takes: ``hopbench run checkout``, from command to report.

    python -m benchmarks.run

Target: ≤ 2 minutes on two cores, with every default: baseline and all variants, a round each.
Everything counts: starting the services of each round, its load, the drain, analysis and reports.
What a run says of itself (void rounds, expectations) is printed beside it: a fast run that measured
nothing would be no success.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import orjson

SCENARIO: Final = "checkout"
SECONDS: Final = 120.0


def measured_s(summary: dict[str, Any]) -> float:
    """What of it is warm-up and load, which no speed of ours shortens."""
    plan = orjson.loads((Path(summary["run_dir"]) / "plan.json").read_bytes())
    each: float = plan["warmup_s"] + plan["duration_s"]
    return each * len(summary["trials"])


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="hopbench-run-") as directory:
        out = Path(directory) / "run"
        command = [sys.executable, "-m", "hopbench", "run", SCENARIO, "--quiet", "--out", str(out)]
        begun = time.perf_counter()
        ended = subprocess.run(command, stdout=subprocess.PIPE, check=False, text=True)
        took = time.perf_counter() - begun
        if not (out / "summary.json").is_file():
            print(f"hopbench run {SCENARIO} ended with {ended.returncode} and no summary")
            return 1
        summary = orjson.loads((out / "summary.json").read_bytes())
        load = measured_s(summary)
    trials = summary["trials"]
    void = sum(trial["void"] for trial in trials)
    unmet = sum(e["met"] is False for v in summary["variants"] for e in v["expectations"])
    print(f"hopbench run {SCENARIO}: {len(trials)} rounds on {os.cpu_count()} cores")
    print(f"  from command to report   {took:6.1f} s   target ≤ {SECONDS:g} s")
    print(f"  of it warm-up and load   {load:6.1f} s")
    print(f"  exit code {ended.returncode}, {void} rounds void, {unmet} expectations not met")
    return 0 if took <= SECONDS and ended.returncode in (0, 1) else 1


if __name__ == "__main__":
    sys.exit(main())
