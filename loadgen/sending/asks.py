"""What each request of the generator asks for, and what rides on it, whatever the protocol.

The generator makes no span. It sends the lower half of the trace id as parent id, by which readers
know the root from an orphan.
"""

from __future__ import annotations

from typing import NamedTuple

from loadgen.plan import Plan
from loadgen.schedule import NO_KEY, Schedule
from services.wire.headers import Headers, pairs
from services.wire.ports import TraceContext
from services.wire.ticket import encode_header, entry_ticket
from services.wire.topology import GENERATOR

_FIRST_ATTEMPT = 0


class Ask(NamedTuple):
    """One request, made before it is due."""

    ticket: str
    key: str | None
    request_bytes: int
    response_bytes: int
    timeout_ns: int
    trace: TraceContext | None
    """None with tracing off."""

    def headers(self, peer: str) -> Headers:
        """``peer`` is who sends it."""
        header = encode_header(
            self.ticket, self.response_bytes, self.timeout_ns, _FIRST_ATTEMPT, peer
        )
        return pairs(header, self.trace)


class Asks:
    """By schedule row. Columns become lists once: a NumPy scalar costs more than the work here."""

    def __init__(self, schedule: Schedule, plan: Plan) -> None:
        self.peer = f"{GENERATOR}/{plan.worker}"
        self._seed = plan.seed
        self._tracing = plan.tracing
        self._timeouts = [entry.timeout_ns for entry in plan.load.entries]
        self._number: list[int] = schedule.number.tolist()
        self._entry: list[int] = schedule.entry.tolist()
        self._hi: list[int] = schedule.trace_hi.tolist()
        self._lo: list[int] = schedule.trace_lo.tolist()
        self._sampled: list[bool] = schedule.sampled.tolist()
        self._request: list[int] = schedule.request_bytes.tolist()
        self._response: list[int] = schedule.response_bytes.tolist()
        self._key: list[int] = schedule.key.tolist()

    def __getitem__(self, row: int) -> Ask:
        key, trace = self._key[row], None
        if self._tracing:
            lower = self._lo[row]
            trace = TraceContext(self._hi[row] << 64 | lower, lower, self._sampled[row])
        return Ask(
            entry_ticket(self._seed, self._number[row]),
            None if key == NO_KEY else str(key),
            self._request[row],
            self._response[row],
            self._timeouts[self._entry[row]],
            trace,
        )
