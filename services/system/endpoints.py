"""``HOST:PORT``: where something listens, and whether it does."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Final, NamedTuple

BOUND_S: Final = 3.0
_NO_HOST: Final = frozenset("/[] ")


class Endpoint(NamedTuple):
    """``host`` is a name or an address, an IPv6 one without brackets."""

    host: str
    port: int

    def __str__(self) -> str:
        """As :func:`endpoint` reads it: an IPv6 address in brackets (RFC 3986, section 3.2.2)."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def endpoint(text: str, *, least: int = 1) -> Endpoint:
    """``localhost:9092``, ``[::1]:9092``. Raises ValueError, which says what is wrong."""
    host, _, port = text.strip().rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    bare = host[1:-1] if bracketed else host
    known = port.isdecimal() and least <= int(port) < 65536
    # Several colons without brackets: the last may be part of the address.
    if not (bare and known) or (":" in bare) != bracketed or not _NO_HOST.isdisjoint(bare):
        raise ValueError(f"{text!r} is not HOST:PORT")
    return Endpoint(bare, int(port))


def listening(text: str) -> Endpoint:
    """The same, for whoever listens there: port 0 takes a free one."""
    return endpoint(text, least=0)


async def silence(at: Endpoint, bound_s: float = BOUND_S) -> str | None:
    """Why nobody can be reached there; None where somebody can."""
    try:
        async with asyncio.timeout(bound_s):
            _, writer = await asyncio.open_connection(at.host, at.port)
    except TimeoutError:
        return f"no connection within {bound_s:g} s"
    except OSError as error:
        return reason(error)
    writer.close()
    return None


def reason(error: OSError) -> str:
    """In the system's words; asyncio puts the address into its own texts."""
    if isinstance(error, socket.gaierror):
        return f"unknown host ({error.strerror})"
    return os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
