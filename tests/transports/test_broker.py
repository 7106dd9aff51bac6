"""The embedded broker as a process, and the check of a real one."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil
import pytest
from confluent_kafka import libversion
from confluent_kafka.admin import AdminClient

from hopbench.parts import broker
from services.errors import CannotStart
from services.system.endpoints import Endpoint, endpoint
from services.transports.site import Broker
from tests.transports.conftest import BrokerProcess


def bounded(main: Callable[[], Awaitable[None]]) -> None:
    async def within() -> None:
        async with asyncio.timeout(30):
            await main()

    asyncio.run(within())


def test_it_says_where_it_listens_and_what_it_is(broker_process: BrokerProcess) -> None:
    ready = broker_process.ready
    assert ready.librdkafka == libversion()[0]
    assert ready.pid == broker_process.process.pid
    assert endpoint(ready.address).host == "127.0.0.1"


def test_an_ordinary_client_sees_one_broker_and_four_partitions(embedded: Broker) -> None:
    """As ``kcat -b BROKER -L`` does it."""
    client = AdminClient({"bootstrap.servers": embedded.address})
    listed = client.list_topics("any.topic", timeout=10)
    assert [f"{b.host}:{b.port}" for b in listed.brokers.values()] == [embedded.address]
    assert sorted(listed.topics["any.topic"].partitions) == [0, 1, 2, 3]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(number: signal.Signals, broker_process: BrokerProcess) -> None:
    broker_process.process.send_signal(number)
    assert broker_process.process.wait(timeout=20) == 0


def test_it_leaves_when_its_parents_pipe_closes(broker_process: BrokerProcess) -> None:
    assert broker_process.process.stdin is not None
    broker_process.process.stdin.close()
    assert broker_process.process.wait(timeout=20) != 0


@pytest.mark.slow
def test_it_dies_with_a_parent_that_is_killed() -> None:
    script = """
import asyncio, pathlib, sys
from hopbench.parts import broker

async def main():
    running = await broker.start(pathlib.Path("/dev/null"))
    print(running.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    assert child.is_running()
    parent.kill()
    parent.wait()
    parent.stdout.close()
    psutil.wait_procs([child], timeout=20)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_it_refuses_to_run_for_a_parent_that_is_gone() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    orphan = subprocess.run(
        [sys.executable, "-m", "hopbench.parts.broker", "--parent", str(gone.pid)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=20,
        check=False,
    )
    assert orphan.returncode != 0
    assert orphan.stdout == b""


def test_started_and_stopped_by_an_engine_it_leaves_its_log(tmp_path: Path) -> None:
    async def main() -> None:
        log = tmp_path / "broker.log"
        running = await broker.start(log)
        address = endpoint(running.ready.address)
        assert await broker.check(address) == (address,)
        await running.stop()
        assert "Mock cluster enabled" in log.read_text()

    bounded(main)


def test_a_broker_that_was_killed_is_told_with_its_log(tmp_path: Path) -> None:
    async def main() -> None:
        running = await broker.start(tmp_path / "broker.log")
        running.process.kill()
        told = await running.died()
        assert told.startswith("broker died (SIGKILL)")
        assert "Mock cluster enabled" in told

    bounded(main)


def test_an_address_where_nothing_answers_is_told_with_what_to_do() -> None:
    async def main() -> None:
        with pytest.raises(CannotStart, match=r"no Kafka at 127\.0\.0\.1:1") as caught:
            await broker.check(Endpoint("127.0.0.1", 1))
        assert "--broker" in str(caught.value)

    bounded(main)


def test_a_broker_is_waited_for_between_rounds_but_not_for_ever(embedded: Broker) -> None:
    async def main() -> None:
        await broker.back(endpoint(embedded.address), 0.0)
        with pytest.raises(CannotStart, match=r"no Kafka at 127\.0\.0\.1:1"):
            await broker.back(Endpoint("127.0.0.1", 1), 0.0)

    bounded(main)
