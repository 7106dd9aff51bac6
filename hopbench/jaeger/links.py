"""Links from a finding's evidence to where its traces can be looked at."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from analysis.findings.finding import Finding
from hopbench.jaeger.client import Addresses


def linked(findings: Iterable[Finding], at: Addresses | None) -> tuple[Finding, ...]:
    """Each piece of evidence with its ``url``; as they are without Jaeger."""
    if at is None:
        return tuple(findings)
    return tuple(
        replace(f, evidence=tuple(replace(e, url=at.link(e.trace_id)) for e in f.evidence))
        for f in findings
    )
