"""HTTP entries: geventhttpclient's parser (llhttp) on keep-alive sockets of our own.

Its ``HTTPClient`` keeps a pool that makes requests wait when it is empty, which would look like
the callee's time, and merges and checks headers for every request anew: more CPU than everything
else in the generator together.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from time import monotonic_ns
from typing import Final, NamedTuple

from gevent import socket
from geventhttpclient._parser import HTTPParseError, HTTPResponseParser

from loadgen.samples import ERROR, OF_STATUS, OK, TIMEOUT
from loadgen.sending.asks import Asks
from loadgen.sending.port import Answer, Way
from services.errors import CannotStart
from services.scenario.names import http_path, keyed
from services.wire.payload import payload
from services.wire.ports import Address, Status
from services.wire.statuses import OF_HTTP

_CONNECT_S: Final = 5.0
_BLOCK: Final = 64 * 1024
_NANO: Final = 1_000_000_000
_STALE_NS: Final = 5 * _NANO
"""A connection idle for longer is looked at before it is used: the callee may have closed it."""
_NO_ANSWER: Final = Answer(ERROR, -1, 0, False)
_TIMED_OUT: Final = Answer(TIMEOUT, -1, 0, False)


class _Response(HTTPResponseParser):
    """Counts the body and drops it. The parser insists on a method for each of its events."""

    __slots__ = ("body_bytes", "complete")

    def __init__(self) -> None:
        super().__init__()
        self.body_bytes = 0
        self.complete = False

    def _on_body(self, data: bytes) -> None:
        self.body_bytes += len(data)

    def _on_message_complete(self) -> None:
        # An interim 1xx response is followed by the final one on the same parser.
        self.complete = self.get_code() >= 200

    def _ignore(self, *_: object) -> None:
        return

    _on_message_begin = _on_status = _on_header_field = _on_header_value = _ignore
    _on_headers_complete = _ignore


class Pool:
    """Connections to one address. It never makes a request wait: what is missing is opened."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        # First in, first out: every connection is used in turn, so none grows stale unnoticed.
        self._idle: deque[tuple[socket.socket, int]] = deque()

    def open(self, count: int) -> None:
        self._idle.extend((self._connect(), monotonic_ns()) for _ in range(count))

    def take(self) -> socket.socket:
        """A connected socket. Raises OSError where the callee cannot be reached."""
        while self._idle:
            connection, since = self._idle.popleft()
            if monotonic_ns() - since < _STALE_NS or _quiet(connection):
                return connection
            connection.close()
        return self._connect()

    def give(self, connection: socket.socket) -> None:
        self._idle.append((connection, monotonic_ns()))

    def close(self) -> None:
        while self._idle:
            self._idle.popleft()[0].close()

    def _connect(self) -> socket.socket:
        connection = socket.create_connection(self._address, timeout=_CONNECT_S)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection


class HttpMessage(NamedTuple):
    pool: Pool
    data: bytes
    timeout_ns: int

    def line(self) -> HttpLine | None:
        try:
            return HttpLine(self.pool.take(), self)
        except OSError:
            return None


class HttpLine(NamedTuple):
    connection: socket.socket
    message: HttpMessage

    def exchange(self) -> Answer:
        connection = self.connection
        response = _Response()
        try:
            _transmit(connection, self.message, response)
        except TimeoutError:
            return _TIMED_OUT
        except (OSError, HTTPParseError):
            return _NO_ANSWER
        finally:
            if response.complete and response.should_keep_alive():
                self.message.pool.give(connection)
            else:
                connection.close()
        if not response.complete:
            return _NO_ANSWER
        code = response.get_code()
        return Answer(_status(code), code, response.body_bytes, True)


def _transmit(connection: socket.socket, message: HttpMessage, response: _Response) -> None:
    """Send, and read until the response is complete or the callee hangs up."""
    deadline = monotonic_ns() + message.timeout_ns
    connection.settimeout(message.timeout_ns / _NANO)
    connection.sendall(message.data)
    while True:
        data = connection.recv(_BLOCK)
        # An empty block is fed, too: it ends a body whose length was not announced.
        response.feed(data)
        if response.complete or not data:
            return
        left = deadline - monotonic_ns()
        if left <= 0:
            raise TimeoutError
        connection.settimeout(left / _NANO)


class HttpSender:
    """One entry over HTTP: its replicas take requests in turn."""

    def __init__(self, way: Way, replicas: Sequence[tuple[Pool, str]], asks: Asks) -> None:
        """``replicas``: the pool and the Host header of each."""
        self._way = way
        self._asks = asks
        self._replicas = [(pool, host.encode()) for pool, host in replicas]
        self._turn = 0
        self._path = http_path(way.entry.target.operation)

    def open(self) -> None:
        for pool, host in self._replicas:
            try:
                pool.open(self._way.warm)
            except OSError as error:
                raise CannotStart(
                    "generator",
                    f"no answer from {self._way.entry.target} at {host.decode()}: {error}",
                    hint="is the scenario still running?",
                ) from error

    def prepare(self, row: int) -> HttpMessage:
        ask = self._asks[row]
        pool, host = self._replicas[self._turn]
        self._turn = (self._turn + 1) % len(self._replicas)
        path = self._path if ask.key is None else keyed(self._path, ask.key)
        lines = [
            b"POST %b HTTP/1.1" % path.encode(),
            b"Host: " + host,
            b"Content-Type: application/octet-stream",
            b"Content-Length: %d" % ask.request_bytes,
        ]
        lines += [
            b"%b: %b" % (name.encode(), text.encode())
            for name, text in ask.headers(self._asks.peer)
        ]
        data = b"\r\n".join(lines) + b"\r\n\r\n" + payload(ask.request_bytes)
        return HttpMessage(pool, data, ask.timeout_ns)

    def close(self) -> None:
        for pool, _ in self._replicas:
            pool.close()


def senders(ways: Sequence[Way], asks: Asks) -> list[HttpSender]:
    """Entries at the same address share its connections."""
    pools: dict[tuple[str, int], Pool] = {}

    def replica(address: Address) -> tuple[Pool, str]:
        at = (address.host, address.ports["http"])
        return pools.setdefault(at, Pool(*at)), "{}:{}".format(*at)

    return [HttpSender(way, [replica(at) for at in way.addresses], asks) for way in ways]


def _status(code: int) -> int:
    if 200 <= code < 300:
        return OK
    return OF_STATUS[OF_HTTP.get(code, Status.ERROR)]


def _quiet(connection: socket.socket) -> bool:
    """Whether an idle connection is still open: one that reads anything was closed, or is out of
    step."""
    connection.settimeout(0.0)
    try:
        connection.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
