"""Numbers as people read them: three significant digits, a unit, a dash for the unknown."""

from __future__ import annotations

UNKNOWN = "–"
"""Shown where a value is null: the sample cannot identify it, or it does not apply."""


def digits(value: float, significant: int = 3) -> str:
    """``1234.5`` → ``1,230``, ``12.345`` → ``12.3``, ``0`` → ``0``."""
    if value == 0:
        return "0"
    magnitude = 0
    rest = abs(value)
    while rest >= 10:
        rest /= 10
        magnitude += 1
    while rest < 1:
        rest *= 10
        magnitude -= 1
    decimals = significant - 1 - magnitude
    rounded = round(value, decimals)
    return f"{rounded:,.{max(decimals, 0)}f}"


def ms(value: float | None) -> str:
    """Milliseconds; seconds from 10,000 ms on, microseconds below 0.1 ms."""
    if value is None:
        return UNKNOWN
    if abs(value) >= 10_000:
        return f"{digits(value / 1000)} s"
    if value != 0 and abs(value) < 0.1:
        return f"{digits(value * 1000)} µs"
    return f"{digits(value)} ms"


def size(value: float | None) -> str:
    """Bytes, binary units."""
    if value is None:
        return UNKNOWN
    for unit in ("B", "KiB", "MiB"):
        if abs(value) < 1024:
            return f"{digits(value)} {unit}"
        value /= 1024
    return f"{digits(value)} GiB"


def count(value: float | None) -> str:
    """Counts and rates: whole where they are whole, else three digits."""
    if value is None:
        return UNKNOWN
    if float(value).is_integer():
        return f"{int(value):,}"
    return digits(value)


def share(value: float | None) -> str:
    """A share of one as a percentage."""
    if value is None:
        return UNKNOWN
    percent = value * 100
    return f"{percent:.0f} %" if percent >= 10 or percent == 0 else f"{percent:.1f} %"


def least(change: float) -> str:
    """A share that can just be told as a percentage: two digits; what arithmetic leaves over where
    nothing varies is nothing."""
    if change < 1e-8:
        return "0 %"
    return f"{digits(100 * change, 2)} %" if change >= 0.001 else "<0.1 %"


def bounds(low: float | None, high: float | None) -> str:
    """Of a time in ms: ``7.50 ms to 21.1 ms``; empty where nothing is known, or it is nothing."""
    if not high:
        return ""
    if low == high:
        return ms(high)
    return f"up to {ms(high)}" if not low else f"{ms(low)} to {ms(high)}"


def span(low: float | None, high: float | None) -> str:
    """Of a time in ms: ``12.0–15.0 ms``, or one value; empty where nothing is known, or it is
    nothing."""
    if not high:
        return ""
    least, most = ms(low), ms(high)
    if least == most:
        return most
    unit = f" {most.rpartition(' ')[2]}"
    return f"{least.removesuffix(unit)}–{most}" if least.endswith(unit) else f"{least} to {most}"


def ratio(value: float | None, base: float | None) -> str:
    """``×0.42`` of the base; a dash where either is unknown or the base is zero."""
    if value is None or base is None or base == 0:
        return UNKNOWN
    return f"×{digits(value / base)}"


def plural(number: int, one: str, many: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"
