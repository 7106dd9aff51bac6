"""The hop record: everything that telemetry knows, as one tuple appended on the hot path.

Spans (of sampled requests) and metrics (of every request) are derived from these records off the
hot path; the virtual engine fills the same tuples. A plain tuple costs 50 ns, a NamedTuple six
times that, hence the index constants.
"""

from __future__ import annotations

from typing import Final

Record = tuple[
    int,  # KIND
    int,  # SITE
    int,  # TRACE
    int,  # SPAN
    int,  # PARENT
    bool,  # SAMPLED
    int,  # START
    int,  # END
    int,  # STATUS
    int,  # REQUEST_BYTES
    int,  # RESPONSE_BYTES
    int,  # ATTEMPT
    int,  # ITEMS
    int,  # CALLS
    int | str,  # PEER
    str | None,  # KEY
    int,  # QUEUE
]

SCOPE: Final = "hopbench.services"
"""The instrumentation scope of all spans and metrics that are made of records."""

KIND: Final = 0
"""INTERNAL 1, SERVER 2, CLIENT 3, PRODUCER 4, CONSUMER 5: OTLP's numbers."""
SITE: Final = 1
"""CLIENT, PRODUCER: index of the edge. SERVER, CONSUMER: index of the operation.
INTERNAL (``fanout.parallel``): index of the operation it runs in. See services/wire/topology.py."""
TRACE: Final = 2
"""128 bits."""
SPAN: Final = 3
PARENT: Final = 4
"""0 for none."""
SAMPLED: Final = 5
START: Final = 6
"""Monotonic ns; exporters add the process's offset to Unix time, taken once at start."""
END: Final = 7
STATUS: Final = 8
"""services.wire.ports.Status. INTERNAL: 0."""
REQUEST_BYTES: Final = 9
RESPONSE_BYTES: Final = 10
ATTEMPT: Final = 11
"""0 is the first. A hedge's second attempt counts on, like a retry."""
ITEMS: Final = 12
"""Items carried. INTERNAL: calls of the fan-out."""
CALLS: Final = 13
"""SERVER, CONSUMER: direct outgoing calls made while handling (attempts not counted).
INTERNAL: calls of the fan-out that failed. CLIENT, PRODUCER: 1 when the span belongs to a
parallel fan-out (its span is then named ``call.<service>.<method>``), else 0."""
PEER: Final = 14
"""CLIENT: the callee's replica that was asked. SERVER, CONSUMER: the protocol by which the caller
came. INTERNAL: 0."""
KEY: Final = 15
QUEUE: Final = 16
"""SERVER, CONSUMER: ns from START until a worker took it. Else 0."""

INTERNAL: Final = 1
SERVER: Final = 2
CLIENT: Final = 3
PRODUCER: Final = 4
CONSUMER: Final = 5
