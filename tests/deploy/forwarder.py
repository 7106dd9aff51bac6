"""TCP from one network namespace into another, over Unix sockets, which lie in the file system."""

from __future__ import annotations

import asyncio
import contextlib
import threading


class Forwarder:
    """Connections to one address go on to another; an address is ``HOST:PORT`` or a path."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._servers: list[asyncio.Server] = []
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def add(self, at: str, to: str) -> None:
        asyncio.run_coroutine_threadsafe(self._add(at, to), self._loop).result(10)

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _add(self, at: str, to: str) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            try:
                there, back = await _connected(to)
            except OSError:
                writer.close()
                return
            await asyncio.gather(_copied(reader, back), _copied(there, writer))

        if at.startswith("/"):
            self._servers.append(await asyncio.start_unix_server(serve, at))
        else:
            host, _, port = at.partition(":")
            self._servers.append(await asyncio.start_server(serve, host, int(port)))

    async def _close(self) -> None:
        for server in self._servers:
            server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _connected(to: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if to.startswith("/"):
        return await asyncio.open_unix_connection(to)
    host, _, port = to.partition(":")
    return await asyncio.open_connection(host, int(port))


async def _copied(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()
