"""The collector as a process: ports, signals, and the death of whoever started it."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.collector.conftest import Running

PARENT = """
import os, subprocess, sys
process = subprocess.Popen(
    [sys.executable, "-m", "hopbench.collector", "--out", sys.argv[1], f"--parent={os.getpid()}"],
    stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
print(process.pid, process.stdout.readline().decode().strip(), flush=True)
sys.stdin.read()
"""


def _second(first: Running, argument: str) -> tuple[int, str]:
    """Exit code and words of another collector, started beside the first."""
    with subprocess.Popen(
        [
            sys.executable,
            "-m",
            "hopbench.collector",
            f"--out={first.out / 'second'}",
            f"--parent={os.getpid()}",
            argument,
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        return process.wait(30), process.stderr.read()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_cleanly_when_asked(collector: Running, number: signal.Signals) -> None:
    collector.process.send_signal(number)
    assert collector.process.wait(10) == 0


def test_it_does_not_outlive_a_parent_that_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline().split()[0])
        watched = os.pidfd_open(pid)
        parent.kill()
        parent.wait()
        # A pidfd becomes readable when its process has ended.
        assert select.select([watched], [], [], 10)[0]
        os.close(watched)


def test_a_taken_port_is_told_with_its_holder_and_the_flag(collector: Running) -> None:
    status, said = _second(collector, f"--http-port={collector.http_port}")
    assert status == 5
    assert f"port {collector.http_port} is taken by pid {collector.process.pid}" in said
    assert "--http-port" in said


def test_two_collectors_never_share_a_grpc_port(collector: Running) -> None:
    status, said = _second(collector, f"--grpc-port={collector.grpc_port}")
    assert status == 5
    assert f"port {collector.grpc_port} is taken" in said
