"""A run that this machine has no memory for is told before anything starts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hopbench.host.memory import available_mb
from hopbench.runs.estimate import Estimate
from hopbench.runs.memory import SPARE_MB, check
from services.errors import BadInput


def needing(memory_mb: float) -> Estimate:
    return Estimate(
        requests=10, traces=5, spans=20, processes=3, memory_mb=memory_mb, disk_mb=1.0, minutes=0.1
    )


def test_what_just_fits_may_start() -> None:
    check(needing(1000.0), 1000.0 + SPARE_MB)


def test_what_does_not_fit_is_refused_with_figures() -> None:
    with pytest.raises(BadInput, match=r"about 1,001 MB.* and 1,000 MB are free"):
        check(needing(1001.0), 1000.0 + SPARE_MB)


def test_this_machine_has_some_memory() -> None:
    assert available_mb() > 0


def test_a_run_of_too_many_processes_starts_nothing(tmp_path: Path) -> None:
    scenario = tmp_path / "wide.yaml"
    scenario.write_text(
        "version: 1\n"
        "services:\n"
        "  wide: {replicas: 10000, operations: {go: [sleep: 1ms]}}\n"
        "load: {rate: 1/s, duration: 1s, entry: wide.go}\n",
        encoding="utf-8",
    )
    out = tmp_path / "run"
    done = subprocess.run(
        [sys.executable, "-m", "hopbench", "run", str(scenario), "--out", str(out)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "needs about" in done.stderr
    assert not out.exists()
