"""Findings: evidenced conclusions, as values.

A finding says what is wrong, where, what it costs on the critical path, what removing it could
save, and which refactor would remove it, written as a variant of a scenario file writes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Literal

from analysis.arrays.quantiles import Quantiles

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

    def document(self) -> dict[str, str | None]:
        return {
            "caller": self.caller,
            "caller_operation": self.caller_operation,
            "callee": self.callee,
            "operation": self.operation,
            "protocol": self.protocol,
            "instance": self.instance,
        }


@dataclass(frozen=True, slots=True)
class Evidence:
    trace_id: str
    span_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Hop:
    """One service of a chain; P50 over the traces that show it. ``tax_ms`` of the way there."""

    service: str
    operation: str
    duration_ms: float | None
    self_ms: float | None
    tax_ms: float | None

    def document(self) -> dict[str, Any]:
        return {
            "service": self.service,
            "operation": self.operation,
            "duration_ms": self.duration_ms,
            "self_ms": self.self_ms,
            "tax_ms": self.tax_ms,
        }


@dataclass(frozen=True, slots=True)
class Finding:
    kind: str
    where: Where
    count_per_request: Quantiles
    cost_ms: Quantiles
    """Time on the critical path, by request that shows it."""
    saving_ms: tuple[float | None, float | None]
    """Bounds of what the refactor could save at P50."""
    confidence: Confidence
    completeness: float
    """Share of complete traces among those that show it, 0..1."""
    text: str
    evidence: tuple[Evidence, ...]
    refactor: Mapping[str, Any] | None
    hops: tuple[Hop, ...] = ()
    """Of a chain, first service first."""

    @property
    def fingerprint(self) -> str:
        """The same for the same kind and place in every run: 16 hex digits."""
        place = "\x1f".join(part or "" for part in (self.kind, *self.where.document().values()))
        return blake2b(place.encode(), digest_size=8).hexdigest()

    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = {
            "kind": self.kind,
            "fingerprint": self.fingerprint,
            "where": self.where.document(),
            "count_per_request": self.count_per_request.document(),
            "cost_ms": self.cost_ms.document(),
            "saving_ms": list(self.saving_ms),
            "confidence": self.confidence,
            "completeness": self.completeness,
            "text": self.text,
            "evidence": [
                {"trace_id": e.trace_id, "span_ids": list(e.span_ids)} for e in self.evidence
            ],
            "refactor": None if self.refactor is None else dict(self.refactor),
        }
        if self.kind == "chain":
            found["hops"] = [hop.document() for hop in self.hops]
        return found


def ranked(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """By cost at P50, dearest first, then fingerprint; those of unidentifiable cost come last."""

    def order(finding: Finding) -> tuple[bool, float, str]:
        cost = finding.cost_ms.p50
        return cost is None, -(cost or 0.0), finding.fingerprint

    return tuple(sorted(findings, key=order))
