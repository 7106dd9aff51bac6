"""Parts that the bench did not start: found by name, and seen to vanish."""

from __future__ import annotations

import asyncio
import socket

import pytest

from hopbench.engines.attached.node import resolve, seen_from
from hopbench.engines.wall.watch import Watched
from services.system.endpoints import Endpoint


def listener(port: int = 0) -> socket.socket:
    return socket.create_server(("127.0.0.1", port))


def test_a_part_that_listens_no_more_is_told_and_one_that_is_back_in_time_is_not() -> None:
    async def once() -> None:
        sock = listener()
        port = sock.getsockname()[1]
        patient = Watched("broker", Endpoint("127.0.0.1", port), away_s=3600.0)
        hasty = Watched("broker", Endpoint("127.0.0.1", port), away_s=0.0)
        assert await hasty.missing() is None
        sock.close()
        gone = f"broker does not answer at 127.0.0.1:{port}: Connection refused"
        assert await hasty.missing() == gone
        watch = asyncio.create_task(patient.died())
        assert await hasty.died() == f"{gone}, for 0 s"
        with listener(port):
            assert await patient.missing() is None
            assert not watch.done()
        watch.cancel()

    asyncio.run(once())


def test_names_become_addresses_in_order_and_unknown_ones_none() -> None:
    async def once() -> None:
        assert await resolve(Endpoint("127.0.0.9", 70)) == (Endpoint("127.0.0.9", 70),)
        assert Endpoint("127.0.0.1", 70) in await resolve(Endpoint("localhost", 70))
        assert await resolve(Endpoint("nobody.invalid", 70)) == ()

    asyncio.run(once())


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.9"])
def test_a_node_on_loopback_finds_the_bench_on_loopback(host: str) -> None:
    assert seen_from(Endpoint(host, 7070)) == "127.0.0.1"
