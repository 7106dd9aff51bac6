"""Messages between a node and its processes."""

from __future__ import annotations

import asyncio
import socket

import pytest

from services.process.channel import Question, open_channel
from services.process.orders import Answer, Begin, Count, Stop


def test_an_answer_that_nobody_waits_for_any_more_is_not_taken_for_the_next() -> None:
    async def talk() -> None:
        ours, theirs = socket.socketpair()
        asking, answering = await open_channel(ours), await open_channel(theirs)
        first = asyncio.create_task(asking.ask(Begin(1, 2)))
        question = await answering.receive(Question)
        assert question is not None
        assert question.order == Begin(1, 2)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        await answering.answer(question, Answer(error="of begin"))

        second = asyncio.create_task(asking.ask(Stop(3)))
        question = await answering.receive(Question)
        assert question is not None
        assert question.order == Stop(3)
        await answering.answer(question, Answer(error="of stop"))
        assert await second == Answer(error="of stop")
        answering.close()
        assert await asking.receive(Question) is None
        asking.close()

    asyncio.run(talk())


def test_a_question_to_a_process_that_is_gone_has_no_answer() -> None:
    async def talk() -> None:
        ours, theirs = socket.socketpair()
        asking = await open_channel(ours)
        theirs.close()
        assert await asking.ask(Count()) is None
        asking.close()

    asyncio.run(talk())
