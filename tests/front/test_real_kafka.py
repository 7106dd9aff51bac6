"""A run over a real Kafka: `HOPBENCH_TEST_KAFKA=HOST:PORT make test-real`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.real
@pytest.mark.timeout(240)
def test_orders_runs_over_a_real_broker(tmp_path: Path) -> None:
    address = os.environ.get("HOPBENCH_TEST_KAFKA")
    if address is None:
        pytest.skip("HOPBENCH_TEST_KAFKA=HOST:PORT names no broker")
    run = tmp_path / "run"
    command = [sys.executable, "-m", "hopbench", "run", "orders", "--broker", address]
    command += ["--duration", "5s", "--warmup", "1s", "--out", str(run), "--json", "-", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["broker"] == "kafka"
    for trial in summary["trials"]:
        assert trial["spans"]["lost"] == 0
        assert trial["spans"]["received"] == trial["spans"]["by_scenario"]
        assert not {"embedded_broker", "broker_cannot", "undrained"} & {
            doubt["code"] for doubt in trial["doubts"]
        }
    for variant in summary["variants"]:
        assert all(expectation["met"] for expectation in variant["expectations"])
        assert variant["unexpected"] == []
