"""``hopbench up``: services that run until asked to stop, and a plan for Locust beside."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from urllib.request import ProxyHandler, Request, build_opener

import grpc
import orjson
import psutil
import pytest

from hopbench.engines.wall.trace_stores import spooled
from loadgen.plan import Plan
from tests.processes.conftest import EVENTS, SCENARIO
from tests.titles import title


@pytest.mark.slow
def test_services_answer_until_ctrl_c_and_their_traces_are_kept(tmp_path: Path) -> None:
    scenario = tmp_path / "small.yaml"
    scenario.write_text(SCENARIO)
    out = tmp_path / "out"
    with subprocess.Popen(
        [sys.executable, "-m", "hopbench", "up", str(scenario), "--out", str(out), "--json", "-"],
        stdout=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    ) as process:
        assert process.stdout is not None
        running = orjson.loads(process.stdout.readline())
        assert running["schema"] == "hopbench.up/1"
        order, *others = running["services"]
        assert [other["service"] for other in others] == ["inventory", "price", "price"]

        url = f"http://{order['host']}:{order['http_port']}/create"
        with build_opener(ProxyHandler({})).open(Request(url, data=b"", method="POST")) as answer:
            assert answer.status == 200
        with grpc.insecure_channel(f"{order['host']}:{order['grpc_port']}") as channel:
            health = channel.unary_unary("/grpc.health.v1.Health/Check", None, None)
            assert health(b"", timeout=10) == b"\x08\x01"
        plan = Plan.read(Path(running["plan"]))
        assert plan.addresses[0][0].ports["http"] == order["http_port"]

        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    assert not Path(running["plan"]).exists()
    assert not [one["pid"] for one in running["services"] if psutil.pid_exists(one["pid"])]
    # One request: a server span for the entry, and a client and a server span for each of 4 calls.
    assert spooled(Path(running["out"]) / "traces.otlp") == 9


@pytest.mark.slow
def test_a_service_that_dies_ends_it_with_its_name(tmp_path: Path) -> None:
    scenario = tmp_path / "small.yaml"
    scenario.write_text(SCENARIO)
    with subprocess.Popen(
        [
            *(sys.executable, "-m", "hopbench", "up", str(scenario)),
            *("--out", str(tmp_path / "out"), "--json", "-"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        running = orjson.loads(process.stdout.readline())
        os.kill(running["services"][0]["pid"], signal.SIGKILL)
        assert process.wait(20) == 5
        assert "order/0 died (SIGKILL)" in process.stderr.read().decode()


@pytest.mark.slow
def test_a_broker_that_dies_ends_it_too(tmp_path: Path) -> None:
    scenario = tmp_path / "events.yaml"
    scenario.write_text(EVENTS)
    with subprocess.Popen(
        [
            *(sys.executable, "-m", "hopbench", "up", str(scenario)),
            *("--out", str(tmp_path / "out"), "--json", "-"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        (broker,) = (
            child
            for child in psutil.Process(process.pid).children()
            if "hopbench: broker" in title(child)
        )
        broker.kill()
        assert process.wait(20) == 5
        assert "broker died (SIGKILL)" in process.stderr.read().decode()
