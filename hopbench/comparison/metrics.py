"""What arms are compared by. One line a metric; what it is in a round is in measured.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from analysis.arrays.quantiles import NEEDED
from services.errors import BadInput

FAILED: Final = "failed_share"
"""A guardrail alone: a difference, no ratio."""


@dataclass(frozen=True, slots=True)
class Metric:
    name: str
    text: str
    """For people."""
    short: str
    """The same, in a narrow column."""
    unit: str
    percent: int | None = None
    """Of a quantile."""
    by_entry: bool = True
    guards: bool = False
    """Whether it is watched, too, whatever the primary metric is."""
    more_is_better: bool = False

    @property
    def needed(self) -> int:
        """Fewest requests of an entry, in each round, that identify it."""
        if not self.by_entry:
            return 1
        return NEEDED[50 if self.percent is None else self.percent]

    @property
    def timed(self) -> bool:
        """Faster and slower are words for it; else less and more."""
        return self.by_entry or self.more_is_better


PRIMARY: Final = "response_p50"
METRICS: Final[Mapping[str, Metric]] = {
    metric.name: metric
    for metric in (
        Metric(PRIMARY, "P50", "P50", "ms", 50),
        Metric("response_p90", "P90", "P90", "ms", 90),
        Metric("response_p95", "P95", "P95", "ms", 95),
        Metric("response_p99", "P99", "P99", "ms", 99, guards=True),
        Metric("response_middle", "mean of the middle half", "middle", "ms"),
        Metric(
            "throughput_rps", "throughput", "throughput", "/s", by_entry=False, more_is_better=True
        ),
        Metric("calls_per_request", "calls per request", "calls/request", "", by_entry=False),
        Metric("hops_per_request", "hops waited for", "hops", "", by_entry=False),
        Metric(
            "bytes_per_request",
            "bytes per request",
            "bytes/request",
            "B",
            by_entry=False,
            guards=True,
        ),
        Metric(
            "cpu_us_per_request",
            "CPU per request",
            "CPU/request",
            "µs",
            by_entry=False,
            guards=True,
        ),
    )
}


def family(entries: int, arms: Sequence[str]) -> int:
    """How many figures there are at most beside the primary ones, which are judged together."""
    parts = entries + 1 if entries > 1 else 1
    every = sum(parts if metric.by_entry else 1 for metric in METRICS.values())
    # The primary one is not among them, and failed requests are.
    return every * (len(arms) - 1)


def known(name: str) -> Metric:
    """Raises BadInput with the names that exist."""
    if name in METRICS:
        return METRICS[name]
    close = get_close_matches(name, METRICS, n=1)
    meant = f"did you mean {close[0]!r}? " if close else ""
    raise BadInput(f"--metric: no metric {name!r}", hint=f"{meant}there are: {', '.join(METRICS)}")
