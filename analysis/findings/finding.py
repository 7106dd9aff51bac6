"""Findings: evidenced conclusions, as values.

A finding says what is wrong, where, what it costs on the critical path, what removing it could
save, and which refactor would remove it, written as a variant of a scenario file writes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass
from hashlib import blake2b
from typing import Any, Literal

from analysis.arrays.quantiles import Quantiles
from services.codec import UNSET, UnsetType

Confidence = Literal["high", "medium", "low"]


@dataclass(frozen=True, slots=True)
class Where:
    """A place. None where it does not apply, or differs over what the finding is about."""

    caller: str | None = None
    caller_operation: str | None = None
    callee: str | None = None
    operation: str | None = None
    protocol: str | None = None
    instance: str | None = None
    """``service/replica``."""


@dataclass(frozen=True, slots=True)
class Evidence:
    trace_id: str
    span_ids: tuple[str, ...]
    url: str | UnsetType = UNSET
    """Where the trace can be looked at, if it is kept where that is so."""


@dataclass(frozen=True, slots=True)
class Hop:
    """One service of a chain; P50 over the traces that show it. ``tax_ms`` of the way there."""

    service: str
    operation: str
    duration_ms: float | None
    self_ms: float | None
    tax_ms: float | None


@dataclass(frozen=True, slots=True)
class Finding:
    kind: str
    fingerprint: str
    where: Where
    count_per_request: Quantiles
    cost_ms: Quantiles
    """Time on the critical path, by request that shows it."""
    saving_ms: tuple[float | None, float | None]
    """What the refactor could save at P50: bounds, or with a scenario at hand a range of what it
    gives, at the percentile that :func:`saves_at` says (hopbench/results/promises.py), and zeros
    where that is nothing; None where it proposes nothing."""
    confidence: Confidence
    completeness: float
    """Share of complete traces among those that show it, 0..1."""
    text: str
    evidence: tuple[Evidence, ...]
    refactor: Mapping[str, Any] | None
    hops: tuple[Hop, ...] | UnsetType = UNSET
    """Of a chain alone: its services, the first one first."""


def saves_at(op: str) -> int:
    """The percentile at which a refactor shows what it gives. Those that a hedge helps straggle:
    they are seldom the middle ones."""
    return 95 if op == "hedge" else 50


def fingerprint(kind: str, where: Where) -> str:
    """The same for the same kind and place in every run: 16 hex digits."""
    place = "\x1f".join(part or "" for part in (kind, *astuple(where)))
    return blake2b(place.encode(), digest_size=8).hexdigest()


def ranked(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """By cost at P50, dearest first, then fingerprint; those of unidentifiable cost come last."""

    def order(finding: Finding) -> tuple[bool, float, str]:
        cost = finding.cost_ms.p50
        return cost is None, -(cost or 0.0), finding.fingerprint

    return tuple(sorted(findings, key=order))
