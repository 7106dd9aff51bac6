"""Recorded arrivals: a file with one a line, its time in the first column.

A time is a number of seconds, a time with its unit (``120ms``), or a date and time (ISO 8601; UTC
where it names no zone). A first line without a time is a header; empty lines, and those behind
``#``, count for nothing. Times are counted from the earliest, in whatever order they stand.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final

from services.errors import BadInput
from services.scenario.limits import MAX_RECORDED
from services.scenario.text import units
from services.scenario.text.reader import quoted

_NANO: Final = 10**9
_LATEST: Final = 2**62
_FORMS: Final = "a number of seconds, a time such as 120ms, or 2026-05-01T12:00:00Z"


def read_recording(path: Path) -> tuple[int, ...]:
    """Ns from the earliest arrival, rising.

    Raises BadInput for a file that cannot be read, holds none, or a line that is no time.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            found = _times(csv.reader(file), str(path))
    except OSError as error:
        raise BadInput(f"cannot be read: {error.strerror}", str(path)) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"this is no CSV: {error}", str(path)) from None
    if not found:
        raise BadInput("no arrival in it", str(path), hint=f"one a line: {_FORMS}")
    first = min(found)
    return tuple(sorted(at - first for at in found))


def _times(rows: Any, file: str) -> list[int]:
    found: list[int] = []
    parse: Callable[[str], int] | None = None
    headed = False
    for row in rows:
        text = row[0].strip() if row else ""
        if not text or text.startswith("#"):
            continue
        try:
            if parse is None:
                parse = _kind(text)
            found.append(parse(text))
            if abs(found[-1]) > _LATEST:
                raise ValueError
        except ValueError:
            if parse is None and not headed:
                headed = True
                continue
            why = f"{quoted(text)} is not a time" + (" like those above" if parse else "")
            raise BadInput(why, file, rows.line_num, _FORMS) from None
        if len(found) > MAX_RECORDED:
            why = f"more than {MAX_RECORDED:,} arrivals"
            raise BadInput(why, file, rows.line_num, "cut out a part of the recording")
    return found


def _kind(text: str) -> Callable[[str], int]:
    """By the first time, for all of a file. Raises ValueError for what is none."""
    for parse in (_seconds, _moment, _time):
        try:
            parse(text)
        except ValueError:
            continue
        return parse
    raise ValueError


def _seconds(text: str) -> int:
    try:
        return round(Decimal(text) * _NANO)
    except (InvalidOperation, OverflowError):
        raise ValueError from None


def _time(text: str) -> int:
    try:
        return round(units.time(text))
    except units.Unreadable:
        raise ValueError from None


def _moment(text: str) -> int:
    at = datetime.fromisoformat(text)
    since = (at if at.tzinfo else at.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * _NANO + since.microseconds * 1000
