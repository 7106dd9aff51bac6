"""Locust patches sockets on import, so nothing that the bench imports may import it."""

from __future__ import annotations

import os
import site
import subprocess
import sys
from pathlib import Path

import pytest

from loadgen import launch
from loadgen.plan import CONTROL_VARIABLE, PLAN_VARIABLE


@pytest.mark.parametrize(
    "module", ["schedule", "plan", "samples", "spool.recorder", "spool.reader", "launch"]
)
def test_what_the_bench_imports_brings_neither_locust_nor_gevent(module: str) -> None:
    program = (
        f"import sys, loadgen.{module}\n"
        "print({name.partition('.')[0] for name in sys.modules}"
        " & {'locust', 'gevent', 'geventhttpclient', 'grpc'})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout.strip(), done.stderr) == ("set()", "")


def test_the_command_needs_neither_a_path_nor_a_place() -> None:
    line = launch.command()
    assert line[0] == sys.executable
    assert Path(line[line.index("-f") + 1]) == launch.LOCUSTFILE.resolve()
    assert "--headless" in line


def test_the_web_page_stays_on_this_host_unless_told_otherwise() -> None:
    line = launch.command(web_port=8089)
    assert "--headless" not in line
    assert line[line.index("--web-host") + 1] == "127.0.0.1"
    assert line[line.index("--web-port") + 1] == "8089"


def test_locusts_own_settings_are_not_inherited() -> None:
    mine = launch.environment({"LOCUST_HEADFUL": "1", "HOME": "/h"}, Path("/x/plan.json"), 7)
    assert "LOCUST_HEADFUL" not in mine
    assert mine["HOME"] == "/h"
    assert mine[PLAN_VARIABLE] == "/x/plan.json"
    assert mine[CONTROL_VARIABLE] == "7"


def test_a_control_descriptor_of_somebody_else_is_not_inherited() -> None:
    assert CONTROL_VARIABLE not in launch.environment({CONTROL_VARIABLE: "3"}, Path("/x"))


def test_the_child_finds_our_packages() -> None:
    child = launch.environment({"PYTHONPATH": "/elsewhere"}, Path("/x"))
    home = str(launch.LOCUSTFILE.parents[1])
    paths = [*child.get("PYTHONPATH", "").split(os.pathsep), *site.getsitepackages()]
    assert home in paths
    assert "/elsewhere" in paths
