"""Messages between a node and its processes: values as JSON, one a line, over a socket pair.

A question carries a number, ``ask``, and its answer the same one: who stopped waiting for an answer
must not take it for that of the next question.
"""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from typing import Any, Final, TypeVar, overload

from services import codec
from services.process.orders import Answer, Order

T = TypeVar("T")

LONGEST_LINE: Final = 16 * 1024 * 1024
"""Bytes. A directory of some thousand replicas is below one megabyte."""


@dataclass(frozen=True, slots=True)
class Question:
    ask: int
    order: Order


@dataclass(frozen=True, slots=True)
class _Answered:
    ask: int
    answer: Answer


class Channel:
    """One end. Use :func:`open_channel`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._turn = asyncio.Lock()
        self._asked = 0

    async def send(self, value: object) -> None:
        """Raises ConnectionError when the other end is gone."""
        self._writer.write(codec.encode(value) + b"\n")
        await self._writer.drain()

    @overload
    async def receive(self, kind: type[T]) -> T | None: ...
    @overload
    async def receive(self, kind: Any) -> Any: ...
    async def receive(self, kind: Any) -> Any:
        """The next message; None when the other end is closed."""
        try:
            line = await self._reader.readline()
        except ConnectionError:
            return None
        return codec.decode(kind, line) if line.endswith(b"\n") else None

    async def ask(self, order: Order) -> Answer | None:
        """Send, and receive the answer; questions of several tasks go one after another.

        None when the other end is closed.
        """
        async with self._turn:
            self._asked += 1
            try:
                await self.send(Question(self._asked, order))
            except ConnectionError:
                return None
            while (answered := await self.receive(_Answered)) is not None:
                if answered.ask == self._asked:
                    return answered.answer
            return None

    async def answer(self, question: Question, answer: Answer) -> None:
        """Raises ConnectionError when the other end is gone."""
        await self.send(_Answered(question.ask, answer))

    def close(self) -> None:
        self._writer.close()


async def open_channel(end: socket.socket) -> Channel:
    """A channel over ``end``, which it then owns."""
    end.setblocking(False)
    reader, writer = await asyncio.open_unix_connection(sock=end, limit=LONGEST_LINE)
    return Channel(reader, writer)
