"""Recorded arrivals: a file with one a line, its time in the first column.

A time is a number of seconds, a time with its unit (``120ms``), or a date and time (ISO 8601; UTC
where it names no zone). Unix times may be in milliseconds, microseconds or nanoseconds, which their
size tells. A first line without a time is a header; empty lines, and those behind ``#``, count for
nothing. Times are counted from the earliest, in whatever order they stand.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Final

from services.errors import BadInput
from services.scenario.limits import MAX_RECORDED
from services.scenario.text import units
from services.scenario.text.reader import quoted

_NANO: Final = 10**9
_FORMS: Final = "a number of seconds, a time such as 120ms, or 2026-05-01T12:00:00Z"
_COLUMN: Final = re.compile(r"[,;\t]")
_UNIX: Final = ((10**17, 1), (10**14, 10**3), (10**11, 10**6))
"""From so large a number on it counts units of so many ns; as seconds it were millennia away."""
_LONGEST: Final = 2**62


def read_recording(path: Path) -> tuple[int, ...]:
    """Ns from the earliest arrival, rising.

    Raises BadInput for a file that cannot be read, holds none, or a line that is no time.
    """
    try:
        if path.exists() and not path.is_file():
            raise BadInput("this is no file", str(path), hint=f"one arrival a line: {_FORMS}")
        with path.open(encoding="utf-8-sig") as file:
            found = _times(file, str(path))
    except OSError as error:
        hint = "its path is seen from where the scenario lies"
        raise BadInput(f"cannot be read: {error.strerror}", str(path), hint=hint) from None
    except UnicodeDecodeError as error:
        raise BadInput(f"not text: {error.reason}", str(path)) from None
    except ValueError as error:
        raise BadInput(f"this names no file: {error}", str(path)) from None
    if not found:
        raise BadInput("no arrival in it", str(path), hint=f"one a line: {_FORMS}")
    first = min(found)
    if max(found) - first > _LONGEST:
        raise BadInput("its times lie more than a century apart", str(path))
    return tuple(sorted(at - first for at in found))


def _times(lines: Iterable[str], file: str) -> list[int]:
    found: list[int] = []
    parse: Callable[[str], int] | None = None
    headed = False
    for number, line in enumerate(lines, 1):
        text = _COLUMN.split(line, maxsplit=1)[0].strip().strip('"')
        if not text or text.startswith("#"):
            continue
        try:
            parse = parse or _kind(text)
            found.append(parse(text))
        except ValueError:
            if not found and not headed:
                headed = True
                continue
            why = f"{quoted(text)} is not a time" + (" like those above" if found else "")
            raise BadInput(why, file, number, _FORMS) from None
        if len(found) > MAX_RECORDED:
            why = f"more than {MAX_RECORDED:,} arrivals"
            raise BadInput(why, file, number, "cut out a part of the recording")
    return found


def _kind(text: str) -> Callable[[str], int]:
    """By the first time, for all of a file. Raises ValueError for what is none."""
    for parse in (_number(text), _moment, _time):
        try:
            parse(text)
        except ValueError:
            continue
        return parse
    raise ValueError


def _number(first: str) -> Callable[[str], int]:
    def parse(text: str) -> int:
        return _whole(text, unit_ns)

    try:
        size = abs(_whole(first, 1))
    except ValueError:
        size = 0
    unit_ns = next((unit for least, unit in _UNIX if size >= least), _NANO)
    return parse


def _whole(text: str, unit_ns: int) -> int:
    try:
        number = Decimal(text)
        if not number.is_finite() or number.adjusted() > 20:
            raise ValueError
        return round(number * unit_ns)
    except ArithmeticError:
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
