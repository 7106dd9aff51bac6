"""Samples: the client's record of every request, as raw integers.

A spool is one JSON header line (the plan's schema, worker and entries) followed by fixed-size
records of :data:`RECORD`, appended as requests end. A spool that breaks off in the middle of a
record is read up to its last whole record.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from services.wire.ports import Status

SCHEMA: Final = "hopbench.samples/1"
NOT_REACHED: Final = -1
STATUSES: Final = ("ok", "error", "timeout", "dropped")
OK, ERROR, TIMEOUT, DROPPED = range(len(STATUSES))
OF_STATUS: Final[Mapping[Status, int]] = {
    Status.OK: OK,
    Status.ERROR: ERROR,
    Status.TIMEOUT: TIMEOUT,
    Status.UNAVAILABLE: ERROR,
    Status.CANCELLED: ERROR,
}
PHASES: Final = ("warmup", "measured", "drain")

RECORD: Final = np.dtype(
    [
        ("seq", "<i8"),  # request number of the schedule, from 0, warm-up included
        ("intended_ns", "<i8"),  # CLOCK_MONOTONIC
        ("sent_ns", "<i8"),  # NOT_REACHED for dropped
        ("done_ns", "<i8"),  # NOT_REACHED where no answer came
        ("request_bytes", "<i8"),
        ("response_bytes", "<i8"),
        ("trace_hi", "<u8"),  # trace id, upper and lower half; 0 with tracing off
        ("trace_lo", "<u8"),
        (
            "code",
            "<i4",
        ),  # HTTP or gRPC status code, the Status of a Kafka reply; -1 where none came
        ("worker", "<u2"),
        ("entry", "<u2"),  # index into the plan's entries
        ("status", "u1"),  # index into STATUSES
        ("phase", "u1"),  # index into PHASES, by intended time
        ("sampled", "u1"),
        ("reserved", "u1"),
    ]
)
