"""The limits of the self-check, as one value that is recorded with every result.

docs/measurement.md, "Limits of the self-check". Shares are 0..1.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Final

SIGMAS: Final = 4.5
"""Chance alone exceeds this once in 150,000 rounds."""


@dataclass(frozen=True, slots=True)
class Limits:
    lag_p99_ms: float = 1.0
    """The floor of the limit on P99 of sent − intended."""
    lag_p99_share: float = 0.10
    """The same as a share of the service time's P50; the larger of the two holds."""
    generator_cpu_share: float = 0.80
    """Of one core."""
    steal_share: float = 0.02
    """Of the round's time over all cores."""
    foreign_cpu_share: float = 0.10
    """Of the round's time over all cores, used by processes not ours."""
    spans_lost_share: float = 0.001
    rate_share: float = 0.02
    """Achieved against scheduled; :attr:`arrivals_p` holds what is scheduled against what was asked
    for."""
    arrivals_p: float = 0.0001
    """The Kolmogorov-Smirnov test's p below which inter-arrivals do not fit: small, because every
    round is tested."""
    loop_lag_ms: float = 50.0
    """A heartbeat that came this late."""
    sleep_bias_ms: float = 0.5
    """P50 of how much longer a simulated wait, or simulated work, took than asked."""
    slices_overlap_share: float = 0.01
    short_round_s: float = 10.0
    short_warmup_s: float = 5.0
    cold_share: float = 0.1
    """By which the P50 of the warm-up's last quarter may differ from that of the one before."""
    complete_traces: int = 20
    """Fewer do not judge an expectation."""

    def document(self) -> dict[str, float]:
        return asdict(self)


USUAL: Final = Limits()
