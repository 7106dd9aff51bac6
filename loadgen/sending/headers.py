"""What rides on every request of the generator: the ``hopbench`` header and ``traceparent``.

The generator makes no span. It sends the lower half of the trace id as parent id, by which readers
know the root from an orphan.
"""

from __future__ import annotations

from loadgen.plan import Plan
from loadgen.schedule import NO_KEY, Schedule
from services.wire import traceparent
from services.wire.ports import TraceContext
from services.wire.ticket import encode_header, entry_ticket

_FIRST_ATTEMPT = 0


class Heads:
    """By schedule row. Columns become lists once: a NumPy scalar costs more than the work here."""

    def __init__(self, schedule: Schedule, plan: Plan) -> None:
        self._seed = plan.seed
        self._peer = f"generator/{plan.worker}"
        self._tracing = plan.tracing
        self._timeouts = [entry.timeout_ns for entry in plan.load.entries]
        self._number: list[int] = schedule.number.tolist()
        self._entry: list[int] = schedule.entry.tolist()
        self._hi: list[int] = schedule.trace_hi.tolist()
        self._lo: list[int] = schedule.trace_lo.tolist()
        self._sampled: list[bool] = schedule.sampled.tolist()
        self._response: list[int] = schedule.response_bytes.tolist()
        self._key: list[int] = schedule.key.tolist()
        self.request_bytes: list[int] = schedule.request_bytes.tolist()

    def hopbench(self, row: int) -> str:
        return encode_header(
            entry_ticket(self._seed, self._number[row]),
            self._response[row],
            self._timeouts[self._entry[row]],
            _FIRST_ATTEMPT,
            self._peer,
        )

    def traceparent(self, row: int) -> str | None:
        """None with tracing off."""
        if not self._tracing:
            return None
        lower = self._lo[row]
        trace = TraceContext(self._hi[row] << 64 | lower, lower, self._sampled[row])
        return traceparent.encode(trace)

    def key(self, row: int) -> str | None:
        key = self._key[row]
        return None if key == NO_KEY else str(key)
