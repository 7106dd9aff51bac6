"""What cannot start, told before a request is sent."""

from __future__ import annotations

import os
import signal
import socket
import time
from contextlib import suppress

import pytest

from hopbench.exits import Exit
from tests.faults.harness import Site, alive

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "part", ["hopbench: stock/0", "hopbench: broker", "hopbench: fork server", "locust"]
)
def test_a_part_that_dies_while_all_start_is_named(site: Site, part: str) -> None:
    bench = site.start("run", site.scenario(), "--variant", "baseline", "--out", "run")

    def seen() -> int | None:
        return next((pid for pid, line in alive(bench.site).items() if part in line), None)

    os.kill(bench.wait(part, seen), signal.SIGKILL)
    # A broker that dies just before the round begins is started again for it.
    while bench.process.poll() is None:
        if (again := seen()) is not None:
            with suppress(ProcessLookupError):
                os.kill(again, signal.SIGKILL)
        time.sleep(0.002)
    ended = bench.end()
    assert ended.code == Exit.BROKEN
    assert part.removeprefix("hopbench: ") in ended.err
    assert "SIGKILL" in ended.err
    assert "Traceback" not in ended.err
    assert not any(site.path.glob("run/trials/*/trial.json"))


def test_a_taken_web_port_and_its_holder_are_told(site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = site.run("run", site.scenario(), "--web", port, "--out", "run")
    assert ended.code == Exit.BROKEN
    assert f"port {port} is taken by pid {os.getpid()}" in ended.err
    assert "--web" in ended.err


def test_a_broker_that_is_not_there_is_told(site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"127.0.0.1:{closed.getsockname()[1]}"
    ended = site.run("run", site.scenario(), "--broker", address, "--out", "run")
    assert ended.code == Exit.BROKEN
    assert f"no Kafka at {address}" in ended.err


def test_a_taken_port_of_the_collector_is_told(site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = site.run("collect", "--out", "kept", "--http-port", port, "--grpc-port", 0)
    assert ended.code == Exit.BROKEN
    assert f"port {port} is taken by pid {os.getpid()}" in ended.err
    assert "--http-port" in ended.err
