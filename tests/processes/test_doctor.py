"""The doctor looks at this host; what it finds differs, what it says of it must not."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

from rich.console import Console

from hopbench.commands.doctor import table, verdict
from hopbench.engines.local.engine import LocalEngine
from hopbench.front.doctor import CHECKS, Check, doctor, document, healthy
from hopbench.host.load import Shares, Snapshot, shares, snapshot
from hopbench.host.ports import holder, listen, taken
from hopbench.runs.environment import environment
from tests.processes.conftest import settings


def test_every_check_that_fails_says_what_to_do() -> None:
    checks = doctor()
    assert len({check.name for check in checks}) == len(checks) >= len(CHECKS)
    assert [check.name for check in checks if not check.ok and not check.advice] == []
    assert {"cores", "steal", "timers", "memory", "open files", "docker", "kafka", "jaeger"} < {
        check.name for check in checks
    }


def test_only_what_is_needed_makes_a_machine_unfit() -> None:
    well = Check("a", True, "fine")
    spare = Check("b", False, "not there", "only for c", needed=False)
    bad = Check("c", False, "broken", "mend it")
    assert healthy((well, spare))
    assert not healthy((well, bad))
    assert document((well, bad))["checks"][1]["advice"] == "mend it"


def test_people_see_what_is_missing_what_to_do_and_whether_it_matters() -> None:
    console = Console(width=40, color_system=None)
    checks = (
        Check("timers", True, "exact"),
        Check(
            "kafka", False, "nothing listens", "the embedded broker will do, with a label", False
        ),
        Check("memory", False, "0.1 GB", "2 GB are enough"),
    )
    with console.capture() as shown:
        console.print(table(checks))
    assert [line.rstrip() for line in shown.get().splitlines()] == [
        "ok  timers  exact",
        "–   kafka   nothing listens",
        "            → the embedded broker will",
        "            do, with a label",
        "!!  memory  0.1 GB",
        "            → 2 GB are enough",
    ]
    assert verdict(checks) == "Not fit to measure as it is: memory."
    assert verdict(checks[:2]).startswith("Fit to measure.")


def test_a_taken_port_is_told_with_its_holder() -> None:
    with listen("x", "127.0.0.1", 0, "--x") as sock:
        port = sock.getsockname()[1]
        assert f"pid {os.getpid()}" in (holder(port) or "")
        assert f"port {port} is taken" in (taken(port) or "")
    assert taken(port) is None
    with socket.create_server(("127.0.0.1", 0)) as other:
        assert taken(other.getsockname()[1]) is not None


def test_foreign_time_is_what_was_used_less_ours_and_the_kernels() -> None:
    second = 1_000_000_000
    before = Snapshot(0, 10 * second, 0, {1: second, 2: 0}, {9: 7 * second, 8: 3 * second})
    after = Snapshot(
        2 * second, 14 * second, second // 10, {1: 2 * second, 2: 0, 3: second}, {9: 8 * second}
    )
    found = shares(before, after, cores=2)
    assert found == Shares(steal=0.025, foreign=0.25)


def test_a_child_of_ours_is_ours_and_a_kernel_thread_is_nobodys() -> None:
    child = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    try:
        now = snapshot(0)
    finally:
        child.communicate()
    assert now is not None
    assert {os.getpid(), child.pid} <= now.ours.keys()
    assert not now.ours.keys() & now.kernel.keys()
    # A kernel thread has no command line.
    assert not [pid for pid in now.kernel if _command_line(pid)]


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def test_the_environment_names_everything_a_figure_depends_on() -> None:
    found = environment(settings(), 7, LocalEngine(settings()), frozenset({0, 1}))
    assert None not in found.libraries.values()
    assert found.seed == 7
    assert found.loop.startswith("uvloop")
    assert found.affinity == (0, 1)
    for known in (found.cpu_model, found.cores, found.load, found.memory_bytes):
        assert known
    for known in (found.kernel, found.python, found.code):
        assert known
    assert set(found.clients) == {"http", "grpc", "kafka"}
    assert (found.broker, found.broker_address, found.clock) == (None, None, "wall")
