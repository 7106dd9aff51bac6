from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from time import monotonic

import pytest

from services.system.death import BUG
from services.transports.kafka.tether import BrokerLost, Tether
from services.transports.site import Gap
from tests.transports.build import Run


def test_a_proxy_that_ends_every_connection_is_not_stormed(run_on: Run) -> None:
    """As the one before a container whose broker has ended."""

    async def main() -> None:
        came: list[float] = []
        often = asyncio.Event()

        def end(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            came.append(monotonic())
            writer.close()
            if len(came) == 3:
                often.set()

        async with await asyncio.start_server(end, "127.0.0.1", 0) as server:
            tether = Tether("127.0.0.1:{1}".format(*server.sockets[0].getsockname()))
            await tether.start()
            await often.wait()
            await tether.stop()
        assert min(b - a for a, b in pairwise(came)) > 0.15

    run_on(main)


class Away:
    """A port where a broker listens, or does not."""

    def __init__(self) -> None:
        self.port = 0
        self._server: asyncio.Server | None = None
        self._ends: set[asyncio.StreamWriter] = set()

    async def up(self) -> None:
        def keep(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._ends.add(writer)

        self._server = await asyncio.start_server(keep, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def down(self) -> None:
        assert self._server is not None
        self._server.close()
        for end in self._ends:
            end.close()
        self._ends.clear()
        await self._server.wait_closed()


def test_who_waits_for_a_broker_goes_on_waiting_while_it_may_come_back(run_on: Run) -> None:
    async def main() -> None:
        place, gaps = Away(), list[Gap]()
        await place.up()
        tether = Tether(f"127.0.0.1:{place.port}", away_s=3600.0, gaps=gaps)
        await tether.start()
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        waiting = asyncio.create_task(tether.outlives(answer))
        await place.down()
        await until(lambda: not tether.connected)
        assert tether.holds
        (gap,) = gaps
        began_ns = gap.from_ns
        await place.up()
        await until(lambda: tether.connected)
        assert began_ns == gap.from_ns < (gap.to_ns or 0)
        answer.set_result("late")
        assert await waiting == "late"
        await tether.stop()
        await place.down()
        assert gaps == [gap]

    run_on(main)


def test_a_broker_that_stays_away_is_lost_and_one_that_returns_is_there(run_on: Run) -> None:
    async def main() -> None:
        place = Away()
        await place.up()
        tether = Tether(f"127.0.0.1:{place.port}", away_s=0.5)
        await tether.start()
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        waiting = asyncio.create_task(tether.outlives(answer))
        await place.down()
        with pytest.raises(BrokerLost):
            await waiting
        assert not tether.holds
        await place.up()
        await until(lambda: tether.holds)
        await tether.stop()
        await place.down()

    run_on(main)


def test_a_process_ends_with_its_tether_and_its_log_says_of_what() -> None:
    """Without one it would never learn that its broker has gone."""
    script = """
import asyncio
from services.transports.kafka.tether import Tether

class Full(list):
    def append(self, gap):
        raise MemoryError("no room for a gap")

async def main():
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    tether = Tether("127.0.0.1:%d" % server.sockets[0].getsockname()[1], gaps=Full())
    await tether.start()
    await asyncio.sleep(10)

asyncio.run(main())
"""
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    told = ended.stderr.splitlines()[-1]
    assert (ended.returncode, told) == (BUG, "MemoryError: no room for a gap")


async def until(holds: Callable[[], bool]) -> None:
    """The test's own timeout is the bound."""
    while not holds():  # noqa: ASYNC110  # nothing tells of it
        await asyncio.sleep(0.01)
