"""From requests that end to records in the spool.

What a request knows by itself is appended to a flat array of integers (tens of nanoseconds);
everything else stands in the schedule already. Records are put together in small slices and
written by a thread of the hub's pool, so that a slow disk does not delay an arrival.
"""

from __future__ import annotations

import json
import os
from array import array
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from loadgen.plan import Plan
from loadgen.samples import RECORD, SCHEMA
from loadgen.schedule import MEASURED, WARMUP, Schedule

if TYPE_CHECKING:
    from gevent.threadpool import ThreadPool

Ended = tuple[int, int, int, int, int, int]
"""How a request ended: schedule row, sent ns, done ns, status, code, response bytes."""
_FIELDS: Final = 6
_SLICE: Final = 512
"""Records put together in one go: some 50 µs in which nothing else runs."""


def header(plan: Plan, start_ns: int) -> bytes:
    """The spool's first line, with its newline."""
    entries = [
        {"entry": str(entry.target), "protocol": entry.protocol} for entry in plan.load.entries
    ]
    document = {
        "schema": SCHEMA,
        "seed": plan.seed,
        "worker": plan.worker,
        "workers": plan.workers,
        "start_ns": start_ns,
        "entries": entries,
    }
    return json.dumps(document).encode() + b"\n"


def recorded(path: Path, schedule: Schedule, plan: Plan, start_ns: int) -> Recorder:
    """The spool of a round that starts at ``start_ns``, monotonic. Raises OSError."""
    closed = plan.load.pace.model == "closed"
    return Recorder(
        path,
        header(plan, start_ns),
        known(schedule, plan, start_ns),
        start_ns + plan.load.warmup_ns if closed else None,
    )


def known(schedule: Schedule, plan: Plan, start_ns: int) -> NDArray[np.void]:
    """One record for each arrival, with all that is known before it is sent."""
    records = np.zeros(len(schedule), dtype=RECORD)
    records["seq"] = schedule.number
    records["intended_ns"] = schedule.offset_ns + start_ns
    records["request_bytes"] = schedule.request_bytes
    if plan.tracing:
        records["trace_hi"] = schedule.trace_hi
        records["trace_lo"] = schedule.trace_lo
    records["worker"] = plan.worker
    records["entry"] = schedule.entry
    records["phase"] = schedule.phase
    records["sampled"] = schedule.sampled
    return records


class Recorder:
    """Writes one spool. ``path`` is made anew; its directory must exist.

    Raises OSError where the spool cannot be written (a full disk, say); what was written before
    stays, and readers cut off a torn record.
    """

    def __init__(
        self, path: Path, head: bytes, records: NDArray[np.void], measured_ns: int | None = None
    ) -> None:
        """``measured_ns``: when the measured phase begins, of a closed load, whose requests are
        intended when they are sent; None for an open one."""
        self._known = records
        self._measured_ns = measured_ns
        self._pending = array("q")
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        self._write(head)

    def add(self, ended: Ended) -> None:
        self._pending.extend(ended)

    def flush(self, pool: ThreadPool | None = None) -> None:
        """Write what is pending: in a thread of ``pool``, slice by slice, or here and at once."""
        while self._pending:
            chunk = self._records(_SLICE)
            if pool is None:
                self._write(chunk)
            else:
                pool.apply(self._write, (chunk,))

    def close(self) -> None:
        os.close(self._fd)

    def _records(self, limit: int) -> bytes:
        end = min(len(self._pending), limit * _FIELDS)
        ended = np.array(self._pending[:end], dtype=np.int64).reshape(-1, _FIELDS)
        del self._pending[:end]
        records = self._known[ended[:, 0]]
        records["sent_ns"] = ended[:, 1]
        records["done_ns"] = ended[:, 2]
        records["status"] = ended[:, 3]
        records["code"] = ended[:, 4]
        records["response_bytes"] = ended[:, 5]
        if self._measured_ns is not None:
            records["intended_ns"] = sent = ended[:, 1]
            records["phase"] = np.where(sent < self._measured_ns, WARMUP, MEASURED)
        return records.tobytes()

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]
