"""Spools of OTLP export requests: append-only, readable however their writer ended.

A record is a request (``ExportTraceServiceRequest``, ``ExportMetricsServiceRequest``, …) in
protobuf's binary form behind its length, 4 bytes, big-endian. Every record is written with one
call straight to the file, so a killed writer leaves at most one broken record, at the end.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_LENGTH = struct.Struct(">I")


@dataclass(slots=True)
class Spool:
    """An open spool. Use :func:`open_spool`."""

    path: Path
    fd: int
    size: int

    def append(self, record: bytes) -> None:
        """Write one record, whole or not at all.

        Raises OSError (disk full, quota, file size limit) with the file as it was before.
        """
        total = _LENGTH.size + len(record)
        try:
            written = os.writev(self.fd, [_LENGTH.pack(len(record)), record])
            while written < total:
                # A disk that fills up takes a part first and says why only when asked again.
                rest = (_LENGTH.pack(len(record)) + record)[written:]
                written += os.write(self.fd, rest)
        except OSError:
            os.ftruncate(self.fd, self.size)
            raise
        self.size += total

    def close(self) -> None:
        os.close(self.fd)


def open_spool(path: Path) -> tuple[Spool, int]:
    """Open ``path`` for appending, and return with it the bytes of a broken last record cut off."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    end = os.fstat(fd).st_size
    whole = _whole(fd, end)
    if whole < end:
        os.ftruncate(fd, whole)
    return Spool(path, fd, whole), end - whole


def _whole(fd: int, end: int) -> int:
    at = 0
    while at + _LENGTH.size <= end:
        after = at + _LENGTH.size + int.from_bytes(os.pread(fd, _LENGTH.size, at), "big")
        if after > end:
            break
        at = after
    return at


def read_spool(path: Path) -> Iterator[bytes]:
    """Every whole record of ``path``, in order; a broken last one is left out."""
    with path.open("rb") as file:
        while len(head := file.read(_LENGTH.size)) == _LENGTH.size:
            (length,) = _LENGTH.unpack(head)
            record = file.read(length)
            if len(record) < length:
                return
            yield record
