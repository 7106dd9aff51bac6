"""Messages between a node and its processes."""

from __future__ import annotations

import asyncio
import socket

import pytest

from services.process.channel import open_channel


def test_an_answer_that_nobody_waits_for_any_more_is_not_taken_for_the_next() -> None:
    async def talk() -> None:
        ours, theirs = socket.socketpair()
        asking, answering = await open_channel(ours), await open_channel(theirs)
        first = asyncio.create_task(asking.ask({"do": "begin"}))
        question = await answering.receive()
        assert question is not None
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        await answering.answer(question, {"of": "begin"})

        second = asyncio.create_task(asking.ask({"do": "stop"}))
        question = await answering.receive()
        assert question is not None
        await answering.answer(question, {"of": "stop"})
        assert await second == {"of": "stop"}
        answering.close()
        assert await asking.receive() is None
        asking.close()

    asyncio.run(talk())


def test_a_question_to_a_process_that_is_gone_has_no_answer() -> None:
    async def talk() -> None:
        ours, theirs = socket.socketpair()
        asking = await open_channel(ours)
        theirs.close()
        assert await asking.ask({"do": "counters"}) is None
        asking.close()

    asyncio.run(talk())
