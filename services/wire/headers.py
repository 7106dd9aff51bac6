"""What travels beside every payload: HTTP headers, gRPC metadata, headers of Kafka's records."""

from __future__ import annotations

from typing import Final

from services.wire import ticket, traceparent
from services.wire.ports import Outgoing, TraceContext

DETAIL: Final = "hopbench-detail"
"""Of an answer: why it is none, for people."""

Headers = tuple[tuple[str, str], ...]


def headers(out: Outgoing, peer: str) -> Headers:
    """Of one attempt that ``peer`` sends."""
    return pairs(
        ticket.encode_header(out.ticket, out.response_bytes, out.timeout_ns, out.attempt, peer),
        out.trace,
    )


def pairs(header: str, trace: TraceContext | None) -> Headers:
    """The ``hopbench`` header and, where there is one, the trace context."""
    if trace is None:
        return ((ticket.HEADER, header),)
    return ((ticket.HEADER, header), (traceparent.HEADER, traceparent.encode(trace)))
