"""Figures and lines that all forms of a proof have in common."""

from __future__ import annotations

from analysis.figures import digits
from hopbench.proving.document import Proof, Step


def facts(of: Proof) -> tuple[tuple[str, str], ...]:
    """How it was measured: names and values."""
    found = [
        ("engine", f"{of.engine} ({of.clock} clock)"),
        ("looks", str(of.depths)),
        ("rounds took", _length(of.spent_s)),
    ]
    if of.budget_s is not None:
        found.append(("budget", _length(of.budget_s)))
    if not of.finished:
        found.append(("finished", "no"))
    return tuple(found)


def promised(of: Step) -> str:
    """ms; a dash where nothing was promised."""
    if of.predicted_ms is None:
        return "–"
    low, high = of.predicted_ms
    if low == high == 0:
        return "nothing"
    return f"{digits(low)} to {digits(high)}"


def saved(of: Step) -> str:
    """ms, with the interval; a dash where it was not measured."""
    if of.estimate_ms is None or of.saved_ms is None:
        return "–"
    low, high = of.saved_ms
    left = "-∞" if low is None else digits(low)
    return f"{digits(of.estimate_ms)} [{left}, {'∞' if high is None else digits(high)}]"


def where(of: Step) -> str:
    """The finding: its kind, and the place."""
    at = of.finding.where
    caller = ".".join(part for part in (at.caller, at.caller_operation) if part)
    callee = ".".join(part for part in (at.callee, at.operation) if part)
    place = "->".join(part for part in (caller, callee) if part)
    return f"{of.finding.kind} {place}".rstrip()


def status(of: Step) -> str:
    if of.held:
        return "held"
    return "not held" if of.estimate_ms is not None or of.verdict is not None else "not tried"


def at(of: Step) -> str:
    """Which figure it is of."""
    return "" if of.entry is None else f"{of.entry} P{of.quantile}"


def _length(seconds: float) -> str:
    return f"{seconds / 60:.1f} min" if seconds >= 60 else f"{seconds:.0f} s"
