"""How many files a process may have open, and how many the services in it need.

Every connection and every listener is a file. The limit that holds is the soft one of
``RLIMIT_NOFILE``, which a process may raise to the hard one by itself (getrlimit(2)).
"""

from __future__ import annotations

import resource
from collections.abc import Collection
from contextlib import suppress
from typing import Final

from services.wire.topology import Topology

BASE: Final = 64
"""Of a process without services: libraries, loop, channel, exporters."""
HEADROOM: Final = 128
"""For connections that requests open beyond the first."""
_LISTENER: Final = 1
_OF_PROTOCOL: Final = 4
"""Of a service that uses one at either end, beside its connections: a gRPC server's listeners and
wake-up files; a link's tether, producer and consumer. HTTP has none."""


def raise_limit() -> int:
    """Raise the soft limit to the hard one; the limit that then holds."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            return hard
    return soft


def needed(
    topology: Topology, services: Collection[str], replicas: dict[str, int], connections: int
) -> int:
    """Of a process that hosts a replica of each of ``services``; ``connections`` are opened from
    each replica to each of those that it calls."""
    total = BASE + HEADROOM
    for service in services:
        leaving = {(w.callee, w.protocol) for w in topology.leaving.get(service, ())}
        arriving = {(w.caller, w.protocol) for w in topology.arriving.get(service, ())}
        both = (*leaving, *arriving)
        total += _LISTENER
        total += sum(replicas[peer] * connections for peer, protocol in both if protocol != "kafka")
        total += _OF_PROTOCOL * len({protocol for _, protocol in both} - {"http"})
    return total
