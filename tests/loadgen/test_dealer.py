"""Locust's own command line as master and workers, by hand."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from loadgen import launch
from loadgen.spool.reader import merged, read
from tests.loadgen.cluster import free_ports
from tests.loadgen.conftest import Shop
from tests.loadgen.rig import entry, load, plan


@pytest.mark.slow
def test_by_hand_a_master_deals_the_plan_to_its_workers(shop: Shop, tmp_path: Path) -> None:
    asked = plan(load(entry(), seconds=1.0), shop.address, tmp_path)
    asked.write(tmp_path / "plan.json")
    (port,) = free_ports(1)

    def locust(*flags: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "locust", "-f", str(launch.LOCUSTFILE), *flags],
            env=launch.environment(os.environ, tmp_path / "plan.json"),
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    there = ("--master-host", "127.0.0.1", "--master-port", str(port))
    here = ("--master-bind-host", "127.0.0.1", "--master-bind-port", str(port))
    with ExitStack() as stack:
        for _ in range(2):
            worker = stack.enter_context(locust("--worker", *there))
            stack.callback(worker.kill)
        master = stack.enter_context(
            locust("--master", *here, "--headless", "--expect-workers", "2")
        )
        stack.callback(master.kill)
        assert master.wait(60) == 0
    spools = [read(tmp_path / f"samples-{number}.spool") for number in range(2)]
    assert merged(spools)["seq"].tolist() == asked.schedule().number.tolist()
    assert [set(spool.records["worker"].tolist()) for spool in spools] == [{0}, {1}]
