from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
import uvloop

from hopbench.parts.broker import Embedded
from services import codec
from services.transports.site import Broker
from tests.transports.build import Main, Run

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "uvloop": uvloop.new_event_loop,
    "asyncio": asyncio.new_event_loop,
}


def runner(loop: str) -> Run:
    def run(main: Main) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(30):
                await main()

        with asyncio.Runner(loop_factory=LOOPS[loop]) as loops:
            loops.run(bounded())

    return run


@pytest.fixture
def run() -> Run:
    """Run a coroutine function on uvloop, as services do."""
    return runner("uvloop")


@pytest.fixture(params=LOOPS)
def run_on(request: pytest.FixtureRequest) -> Run:
    """The same on each kind of loop."""
    return runner(request.param)


class BrokerProcess:
    """The embedded broker, started as an engine starts it."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "hopbench.parts.broker", "--parent", str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self.process.stdout is not None
        self.ready = codec.decode(Embedded, self.process.stdout.readline())
        self.broker = Broker(self.ready.address, "embedded")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        self.process.terminate()
        with self.process:  # closes the pipes and waits
            pass


@pytest.fixture
def broker_process() -> Iterator[BrokerProcess]:
    """A broker of this test alone."""
    process = BrokerProcess()
    yield process
    process.close()


@pytest.fixture(scope="package")
def embedded() -> Iterator[Broker]:
    """A broker shared by all tests that leave it alive."""
    process = BrokerProcess()
    yield process.broker
    process.close()


@pytest.fixture
def real_kafka() -> Broker:
    """A real Kafka, where the environment names one."""
    address = os.environ.get("HOPBENCH_TEST_KAFKA")
    if address is None:
        pytest.skip("HOPBENCH_TEST_KAFKA=HOST:PORT names no broker")
    return Broker(address, "kafka")


@pytest.fixture(params=["embedded", pytest.param("real_kafka", marks=pytest.mark.real)])
def broker(request: pytest.FixtureRequest) -> Broker:
    """Each kind of broker."""
    found: Broker = request.getfixturevalue(request.param)
    return found
