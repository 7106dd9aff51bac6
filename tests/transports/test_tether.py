from __future__ import annotations

import asyncio
from itertools import pairwise
from time import monotonic

from services.transports.tether import Tether
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
