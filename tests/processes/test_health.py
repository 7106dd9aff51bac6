"""How a process that does not come up is told."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest

from services.errors import CannotStart
from services.node.forks import Child
from services.node.health import come_up
from services.process.channel import open_channel
from services.scenario.packing import Pack


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (70, "ended while starting (exit 70)"),
        (0, "ended while starting (exit 0)"),
        (-9, "ended while starting (SIGKILL)"),
        pytest.param(
            None,
            "closed its channel while starting, and has not ended in 2 s",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_channel_that_closes_is_told_by_how_the_process_ended_if_it_did(
    tmp_path: Path, status: int | None, told: str
) -> None:
    log = tmp_path / "a-0.log"
    log.write_text("its last words\n")

    async def once() -> CannotStart:
        ours, theirs = socket.socketpair()
        exit_: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        pack = Pack("a/0", (("a", 0),))
        child = Child(pack, os.getpid(), log, await open_channel(ours), exit_)
        theirs.close()
        if status is not None:
            # The fork server tells a moment after the channel has closed.
            asyncio.get_running_loop().call_later(0.05, exit_.set_result, status)
        with pytest.raises(ExceptionGroup) as raised:
            await come_up([child])
        child.channel.close()
        (failure,) = raised.value.exceptions
        assert isinstance(failure, CannotStart)
        return failure

    failure = asyncio.run(once())
    assert (failure.part, failure.text, failure.log) == ("a/0", told, "its last words")
