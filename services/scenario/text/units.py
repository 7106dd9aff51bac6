"""Quantities as text: ``10ms``, ``4KiB``, ``200/s``, ``25%``. Parsed once, into typed values.

- A time always has a unit, except 0. A size without one is bytes, a rate without one is per
  second, a probability without ``%`` lies in 0..1.
- ``kB``, ``MB`` and ``GB`` are powers of 1000; ``KiB``, ``MiB`` and ``GiB`` powers of 1024.
- Arithmetic is decimal, so that ``0.1ms`` is 100,000 ns exactly, and every text that the
  ``*_text`` functions write is read back as the very same value.

The parsing functions raise :class:`Unreadable`, with a hint; they never see a file or a line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches
from typing import Final

TIME: Final[Mapping[str, int]] = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,  # U+03BC, as most keyboards type it; the line above has U+00B5
    "ms": 10**6,
    "s": 10**9,
    "min": 60 * 10**9,
    "h": 3600 * 10**9,
}
SIZE: Final[Mapping[str, int]] = {
    "B": 1,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
}
RATE: Final[Mapping[str, int]] = {"/s": 1, "/min": 60, "/h": 3600}
"""Seconds in the unit: the number is divided by it."""

_QUANTITY: Final = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)\s*(\S*)\s*")
_LARGEST: Final = Decimal(2**63 - 1)
_MISTAKES: Final[Mapping[str, str]] = {
    "m": "min (minutes) or ms (milliseconds)",
    "sec": "s",
    "secs": "s",
    "seconds": "s",
    "msec": "ms",
    "usec": "us",
    "KB": "kB (1000) or KiB (1024)",
    "K": "kB (1000) or KiB (1024)",
    "k": "kB (1000) or KiB (1024)",
    "M": "MB (1000²) or MiB (1024²)",
    "G": "GB (1000³) or GiB (1024³)",
    "b": "B",
    "kb": "kB",
    "rps": "/s",
    "rpm": "/min",
    "/sec": "/s",
    "/second": "/s",
    "/m": "/min",
}


@dataclass(slots=True, eq=False)
class Unreadable(Exception):
    """The text is not such a quantity; ``hint`` is what would be."""

    text: str
    hint: str | None = None

    def __str__(self) -> str:
        return self.text


def time(value: object) -> float:
    """Nanoseconds; fractions of one are kept."""
    return float(_quantity(value, "time", TIME, None, "10ms"))


def duration(value: object) -> int:
    """Whole nanoseconds."""
    ns = _quantity(value, "time", TIME, None, "10ms")
    if ns != ns.to_integral_value():
        raise Unreadable(f"{_shown(value)} is finer than a nanosecond")
    return int(ns)


def size(value: object) -> float:
    """Bytes."""
    return float(_quantity(value, "size", SIZE, "B", "4KiB"))


def rate(value: object) -> float:
    """Per second."""
    number, unit = _split(value, "rate", "200/s")
    seconds = _unit(value, unit or "/s", "rate", RATE)
    return float(number / seconds)


def probability(value: object) -> float:
    """0..1."""
    number, unit = _split(value, "probability", "25%")
    if unit not in ("", "%"):
        raise Unreadable(f"{_shown(value)} is not a probability", "write 25% or 0.25")
    share = number / 100 if unit == "%" else number
    if share > 1:
        hint = f"did you mean {number.normalize():f}%?" if not unit and number <= 100 else None
        raise Unreadable(f"{_shown(value)} is more than 100%", hint)
    return float(share)


def time_text(ns: float) -> str:
    """``10ms``; read back by :func:`time` (and :func:`duration`) as the same value."""
    return _text(ns, (("s", 10**9), ("ms", 10**6), ("us", 10**3), ("ns", 1)))


def size_text(size_bytes: float) -> str:
    for unit in ("GiB", "MiB", "KiB"):
        if size_bytes >= SIZE[unit] and size_bytes % SIZE[unit] == 0:
            return f"{int(size_bytes) // SIZE[unit]}{unit}"
    return f"{_plain(Decimal(repr(size_bytes)))}B"


def rate_text(per_second: float) -> str:
    return f"{_plain(Decimal(repr(per_second)))}/s"


def probability_text(share: float) -> str:
    return f"{_plain(Decimal(repr(share)) * 100)}%"


def _text(value: float, units: tuple[tuple[str, int], ...]) -> str:
    exact = Decimal(repr(value))
    for unit, factor in units:
        if exact >= factor:
            return f"{_plain(exact / factor)}{unit}"
    unit, factor = units[-1]
    return f"{_plain(exact / factor)}{unit}"


def _plain(number: Decimal) -> str:
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _quantity(
    value: object, what: str, units: Mapping[str, int], bare: str | None, example: str
) -> Decimal:
    number, unit = _split(value, what, example)
    if not unit and bare is None and number != 0:
        plain = _plain(number)
        raise Unreadable(f"{_shown(value)} has no unit", f"did you mean {plain}ms or {plain}s?")
    scaled = number * _unit(value, unit or bare or next(iter(units)), what, units)
    if scaled > _LARGEST:
        raise Unreadable(f"{_shown(value)} is too large a {what}")
    return scaled


def _split(value: object, what: str, example: str) -> tuple[Decimal, str]:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise Unreadable(f"{_shown(value)} is not a {what}", f"write it as {example}")
    match = _QUANTITY.fullmatch(repr(value) if isinstance(value, float) else str(value))
    if match is None:
        negative = str(value).lstrip().startswith("-")
        reason = "is negative" if negative else f"is not a {what}"
        raise Unreadable(f"{_shown(value)} {reason}", f"write it as {example}")
    number = Decimal(match[1])
    if number.adjusted() > 300:
        raise Unreadable(f"{_shown(value)} is too large a {what}")
    return number, match[2]


def _unit(value: object, unit: str, what: str, units: Mapping[str, int]) -> int:
    if unit in units:
        return units[unit]
    meant = _MISTAKES.get(unit)
    if meant is not None and any(word in units for word in meant.split()):
        raise Unreadable(f"{_shown(value)}: unknown unit {unit!r}", f"did you mean {meant}?")
    known = [unit for unit in units if unit != "μs"]
    same = [name for name in known if name.lower() == unit.lower()]
    close = same or get_close_matches(unit, known, n=1)
    raise Unreadable(
        f"{_shown(value)}: {_shown(unit)} is not a unit of {what}",
        f"did you mean {close[0]}?" if close else f"known units: {', '.join(known)}",
    )


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
