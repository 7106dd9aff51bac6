"""What is no master, where the bench looks for one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from hopbench.engines.attached.generator import attach
from services.errors import CannotStart
from services.system.endpoints import Endpoint
from services.wire.ports import Address
from tests.loadgen.rig import entry, load, plan


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "not as a generator does.*HTTP/1.1 400"),
        (b"[]\n", "not as a generator does"),
        (b"x" * (3 << 20) + b"\n", "has closed the connection"),
        (b"", "has closed the connection"),
    ],
)
def test_another_server_is_told_in_a_line(tmp_path: Path, answer: bytes, said: str) -> None:
    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(answer)
        writer.close()

    async def live() -> None:
        async with await asyncio.start_server(other, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            generator = await attach(
                Endpoint("127.0.0.1", port),
                "token",
                plan(load(entry()), Address("127.0.0.1", {"http": 1, "grpc": 1}), tmp_path),
                tmp_path,
                tmp_path / "log",
            )
            try:
                await generator.ready()
            finally:
                await generator.stop()

    with pytest.raises(CannotStart, match=said):
        asyncio.run(live())
