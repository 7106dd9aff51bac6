"""Listening addresses on this host: taking one, and saying who has it when it is taken."""

from __future__ import annotations

import errno
import socket

import psutil

from services.errors import CannotStart
from services.system.endpoints import Endpoint


def holder(port: int) -> str | None:
    """``pid 4711 (java)`` for the process that listens on TCP ``port``, where we may know."""
    try:
        connections = psutil.net_connections("tcp")
    except (psutil.AccessDenied, OSError):
        return None
    for connection in connections:
        if (
            connection.status == psutil.CONN_LISTEN
            and connection.laddr
            and connection.laddr.port == port
            and connection.pid
        ):
            try:
                return f"pid {connection.pid} ({psutil.Process(connection.pid).name()})"
            except psutil.NoSuchProcess:
                return f"pid {connection.pid}"
    return None


def listen(part: str, host: str, port: int, flag: str) -> socket.socket:
    """A listening TCP socket on ``host``:``port`` (0: any free port).

    Raises CannotStart with the holder of a taken port, naming ``flag`` as the way out.
    """
    try:
        sock = _server(host, port)
    except OSError as error:
        another = error.errno in (errno.EADDRINUSE, errno.EACCES)
        hint = f"{flag} takes another port" if another else "--host names an address of this host"
        raise CannotStart(part, _why(host, port, error), hint=hint) from None
    sock.setblocking(False)
    return sock


def taken(port: int, host: str = "127.0.0.1") -> str | None:
    """Why ``port`` can't be listened on now, or None."""
    try:
        _server(host, port).close()
    except OSError as error:
        return _why(host, port, error)
    return None


def _server(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=512)


def _why(host: str, port: int, error: OSError) -> str:
    if error.errno != errno.EADDRINUSE:
        return f"cannot listen on {Endpoint(host, port)}: {error.strerror}"
    by = holder(port)
    return f"port {port} is taken" + (f" by {by}" if by else "")
