"""Messages between a node and its processes: JSON objects, one a line, over a socket pair.

A question carries a number, ``ask``, and its answer the same one: who stopped waiting for an answer
must not take it for that of the next question.
"""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

LONGEST_LINE = 16 * 1024 * 1024
"""Bytes. A directory of some thousand replicas is below one megabyte."""


class Channel:
    """One end. Use :func:`open_channel`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._turn = asyncio.Lock()
        self._asked = 0

    async def send(self, message: dict[str, Any]) -> None:
        """Raises ConnectionError when the other end is gone."""
        self._writer.write(json.dumps(message, separators=(",", ":")).encode() + b"\n")
        await self._writer.drain()

    async def receive(self) -> dict[str, Any] | None:
        """The next message; None when the other end is closed."""
        try:
            line = await self._reader.readline()
        except ConnectionError:
            return None
        if not line.endswith(b"\n"):
            return None
        message: dict[str, Any] = json.loads(line)
        return message

    async def ask(self, message: dict[str, Any]) -> dict[str, Any] | None:
        """Send, and receive the answer; questions of several tasks go one after another.

        None when the other end is closed.
        """
        async with self._turn:
            self._asked += 1
            number = self._asked
            try:
                await self.send({**message, "ask": number})
            except ConnectionError:
                return None
            while (answer := await self.receive()) is not None:
                if answer.pop("ask", None) == number:
                    return answer
            return None

    async def answer(self, question: dict[str, Any], body: dict[str, Any]) -> None:
        """Raises ConnectionError when the other end is gone."""
        await self.send({**body, "ask": question["ask"]})

    def close(self) -> None:
        self._writer.close()


async def open_channel(end: socket.socket) -> Channel:
    """A channel over ``end``, which it then owns."""
    end.setblocking(False)
    reader, writer = await asyncio.open_unix_connection(sock=end, limit=LONGEST_LINE)
    return Channel(reader, writer)
