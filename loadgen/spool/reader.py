"""Spools read back: records, and the columns of samples.parquet (docs/output.md)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from loadgen.samples import NOT_REACHED, PHASES, RECORD, SCHEMA, STATUSES
from services.errors import BadInput

COLUMNS: Final = pa.schema(
    [
        pa.field("seq", pa.int64(), nullable=False),
        pa.field("intended_ns", pa.int64(), nullable=False),
        pa.field("sent_ns", pa.int64()),
        pa.field("done_ns", pa.int64()),
        pa.field("status", pa.string(), nullable=False),
        pa.field("code", pa.int32()),
        pa.field("trace_id", pa.string()),
        pa.field("sampled", pa.bool_(), nullable=False),
        pa.field("phase", pa.string(), nullable=False),
        pa.field("entry", pa.string(), nullable=False),
        pa.field("protocol", pa.string(), nullable=False),
        pa.field("worker", pa.uint16(), nullable=False),
        pa.field("request_bytes", pa.int64(), nullable=False),
        pa.field("response_bytes", pa.int64()),
    ]
)
"""Times are CLOCK_MONOTONIC ns, null where not reached; ``code`` and ``response_bytes`` are null
where no answer came, ``trace_id`` (32 hex digits) with tracing off; ``entry`` is
``service.operation``."""


@dataclass(frozen=True, slots=True)
class SpoolEntry:
    entry: str
    """``service.operation``"""
    protocol: str


@dataclass(frozen=True, slots=True, eq=False)
class Spool:
    worker: int
    workers: int
    seed: int
    start_ns: int
    """Monotonic time of the schedule's zero, of the bench's host."""
    entries: tuple[SpoolEntry, ...]
    records: NDArray[np.void]
    """Of loadgen.samples.RECORD, in the order in which requests ended."""
    torn_bytes: int
    """Bytes of a last record that was cut off, and is left out."""


def begun(path: Path) -> bool:
    """Whether the spool has its whole header: not where a full disk, or a kill, came before."""
    with path.open("rb") as file:
        return file.readline().endswith(b"\n")


def read(path: Path) -> Spool:
    """One worker's spool, also of a round that broke off.

    A worker on another host writes times of its own CLOCK_MONOTONIC. Where the bench has added its
    own time of the schedule's zero to the header (``bench_start_ns``), records are moved by the
    difference; what the two clocks drift apart in one round stays.

    Raises BadInput where the file is missing, empty, or starts with no whole header.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadInput(f"cannot read samples: {error.strerror}", file=str(path)) from error
    line, newline, body = data.partition(b"\n")
    try:
        header = json.loads(line) if newline else None
    except ValueError:
        header = None
    if not isinstance(header, dict) or header.get("schema") != SCHEMA:
        raise BadInput(f"this is no spool of {SCHEMA}", file=str(path))
    whole = len(body) // RECORD.itemsize
    records = np.frombuffer(body, dtype=RECORD, count=whole)
    start_ns: int = header.get("bench_start_ns") or header["start_ns"]
    return Spool(
        worker=header["worker"],
        workers=header["workers"],
        seed=header["seed"],
        start_ns=start_ns,
        entries=tuple(SpoolEntry(**entry) for entry in header["entries"]),
        records=_moved(records, start_ns - header["start_ns"]),
        torn_bytes=len(body) - whole * RECORD.itemsize,
    )


def _moved(records: NDArray[np.void], by_ns: int) -> NDArray[np.void]:
    if by_ns == 0:
        return records
    moved = records.copy()
    for name in ("intended_ns", "sent_ns", "done_ns"):
        times = moved[name]
        times[times != NOT_REACHED] += by_ns
    return moved


def merged(spools: Sequence[Spool]) -> NDArray[np.void]:
    """The records of all workers of one round, in order of the schedule.

    Raises BadInput where they are not of one round.
    """
    if len({(spool.seed, spool.start_ns, spool.entries) for spool in spools}) != 1:
        raise BadInput("these spools are not the workers of one round")
    records = np.concatenate([spool.records for spool in spools])
    return records[np.argsort(records["seq"], kind="stable")]


def table(records: NDArray[np.void], entries: Sequence[SpoolEntry]) -> pa.Table:
    """Records as the columns of :data:`COLUMNS`, one row a request, in the order given."""
    answered = records["done_ns"] != NOT_REACHED
    names = [entry.entry for entry in entries]
    protocols = [entry.protocol for entry in entries]
    columns = {
        "seq": records["seq"],
        "intended_ns": records["intended_ns"],
        "sent_ns": _reached(records["sent_ns"]),
        "done_ns": _reached(records["done_ns"]),
        "status": _named(STATUSES, records["status"]),
        "code": _reached(records["code"]),
        "trace_id": _trace_ids(records),
        "sampled": records["sampled"].astype(np.bool_),
        "phase": _named(PHASES, records["phase"]),
        "entry": _named(names, records["entry"]),
        "protocol": _named(protocols, records["entry"]),
        "worker": records["worker"],
        "request_bytes": records["request_bytes"],
        "response_bytes": pa.array(np.ascontiguousarray(records["response_bytes"]), mask=~answered),
    }
    return pa.table(
        [pa.array(columns[field.name], type=field.type) for field in COLUMNS], schema=COLUMNS
    )


def samples(spools: Sequence[Path]) -> pa.Table:
    """The spools of one round's workers as the table of samples.parquet.

    Raises BadInput for spools that cannot be read or are not of one round.
    """
    parts = [read(spool) for spool in spools]
    return table(merged(parts), parts[0].entries)


def _reached(values: NDArray[np.signedinteger]) -> pa.Array:
    return pa.array(np.ascontiguousarray(values), mask=values == NOT_REACHED)


def _named(names: Sequence[str], index: NDArray[np.unsignedinteger]) -> pa.Array:
    return pa.DictionaryArray.from_arrays(
        pa.array(np.ascontiguousarray(index), type=pa.int32(), safe=True), pa.array(names)
    ).cast(pa.string())


def _trace_ids(records: NDArray[np.void]) -> pa.Array:
    halves = np.empty((len(records), 2), dtype=">u8")
    halves[:, 0], halves[:, 1] = records["trace_hi"], records["trace_lo"]
    digits = halves.tobytes().hex()
    ids = [digits[i : i + 32] for i in range(0, len(digits), 32)]
    absent = (records["trace_hi"] == 0) & (records["trace_lo"] == 0)
    return pa.array(ids, type=pa.string(), mask=absent)
