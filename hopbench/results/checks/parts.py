"""Whether the round came to its end, and what its parts doubted themselves."""

from __future__ import annotations

from collections.abc import Iterator

from hopbench.results.checks.observed import Observed
from hopbench.runs.limits import Limits
from services.doubts import Code, Doubt


def whole(o: Observed, limits: Limits) -> Iterator[Doubt]:
    evidence = o.evidence
    if evidence is None:
        yield Doubt(Code.INTERRUPTED, "the round did not end; what it measured was recovered")
        return
    if evidence.broken is not None:
        first, *_ = evidence.broken.splitlines() or ["a part died"]
        yield Doubt(Code.BROKEN, first.removesuffix("; its log ends:"))
    if evidence.undrained is not None:
        yield Doubt(Code.UNDRAINED, evidence.undrained)


def own(o: Observed, limits: Limits) -> Iterator[Doubt]:
    """Doubts that the engine and the service processes raised themselves, one of each code."""
    if o.evidence is None:
        return
    told: dict[Code, list[str]] = {}
    for doubt in o.evidence.doubts:
        told.setdefault(doubt.code, []).append(doubt.text)
    for whose, doubts in (
        *((f"{p.service}/{p.replica}", p.doubts) for p in o.evidence.processes),
        *((f"{s.service}/{s.replica}", s.doubts) for s in o.evidence.senders),
    ):
        for doubt in doubts:
            told.setdefault(doubt.code, []).append(f"{whose}: {doubt.text}")
    for code, texts in told.items():
        distinct = list(dict.fromkeys(texts))
        more = f" (and {len(distinct) - 1} more like it)" if len(distinct) > 1 else ""
        yield Doubt(code, distinct[0] + more)
