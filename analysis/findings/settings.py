"""Every threshold of every analyzer, in one frozen value, recorded with the result.

docs/analysis.md, "Findings", says which rule each belongs to; sources that a default was weighed
against are named where they decide something.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    chatty_calls: int = 5
    """Calls of one group in one request (Sentry and perf-sentinel: 5, too)."""
    chatty_few: int = 2
    """From here to ``chatty_calls``, one after another, goes to ``minor``, where a scenario is
    known to tell what it would save."""
    chatty_peak: int = 5
    """In flight at once, for chatty.parallel; 2 to this goes to ``minor``."""
    chain_hops: int = 5
    sequential_edges: int = 3
    """Different edges called one after another, for fanout.sequential…"""
    sequential_few: int = 2
    """…and from here on for a minor one, as ``chatty_few``."""
    storm_peak: int = 20
    """More than so many children in flight at once are a storm."""
    storm_critical_peak: int = 60
    straggler_ratio: float = 3.0
    """Slowest call against the median of its siblings."""
    straggler_siblings: int = 3
    """Fewer have no median worth the name."""
    instance_share: float = 0.6
    """Of all straggling calls; from here on an instance stands out…"""
    instance_excess: float = 1.5
    """…where it also straggles so many times more often than its share of the calls."""
    retry_ratio: float = 2.0
    """Attempts to calls."""
    tax_share: float = 0.2
    """Transport tax to client time, both P50."""
    payload_bytes: int = 256 * 1024
    backlog_share: float = 0.02
    """Of the arrivals, that were not handled in the time they came in (the usual line between
    keeping up and not: achieved/offered below 0.98)."""

    trace_share: float = 0.2
    """Of the traces that contain a finding's place; below it the finding is minor."""
    cost_share: float = 0.05
    """Of the root's P50, on the critical path; below it the finding is minor."""
    evidence_traces: int = 3
    evidence_spans: int = 25
    """Cited for each trace, at most."""

    expected_kinds: tuple[str, ...] = ()
    """That the scenario expects, sorted: in ``run`` they keep protocol.tax a finding."""
