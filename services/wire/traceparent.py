"""The W3C ``traceparent`` header, as integers."""

from __future__ import annotations

from typing import Final

from services.wire.ports import TraceContext

HEADER: Final = "traceparent"
_LENGTH: Final = 55


def encode(trace: TraceContext) -> str:
    return f"00-{trace[0]:032x}-{trace[1]:016x}-{'01' if trace[2] else '00'}"


def parse(text: str | None) -> TraceContext | None:
    """The context, or None where there is none or it is malformed.

    A malformed header counts as absent, and a later version is read as version 00 would be:
    W3C Trace Context, section 3.2.2.
    """
    if text is None or len(text) < _LENGTH or text[2] != "-" or text[35] != "-" or text[52] != "-":
        return None
    try:
        trace_id, span_id = int(text[3:35], 16), int(text[36:52], 16)
        sampled = bool(int(text[53:55], 16) & 1)
    except ValueError:
        return None
    if not trace_id or not span_id or text[:2] == "ff":
        return None
    return TraceContext(trace_id, span_id, sampled)
