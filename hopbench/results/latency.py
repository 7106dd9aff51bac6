"""What the generator saw of one round: rates and times of the requests due in the measured phase.

response = done − intended, service = done − sent, lag = sent − intended. Dropped requests and
timeouts rank as infinitely slow; requests answered with an error have times of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import polars as pl

from analysis.arrays.quantiles import Quantiles, quantiles, rank
from services.scenario.model import Load

MS: Final = 1e6
Headline = Literal["unsampled", "all"]


@dataclass(frozen=True, slots=True)
class Latency:
    """Times in ms, all but ``lag`` of the measured phase's ``ok``, ``timeout`` and dropped."""

    response: Quantiles
    service: Quantiles
    """Without those that were dropped: they were never sent."""
    sampled: Quantiles
    """Response times of sampled requests."""
    unsampled: Quantiles
    failed: Quantiles
    """Response times of requests answered with an error."""
    lag: Quantiles
    lag_p99_ms: float | None
    """By nearest rank whatever the sample's size: for the self-check, which must decide."""

    def headline(self, kind: Headline) -> Quantiles:
        return self.unsampled if kind == "unsampled" else self.response

    @property
    def direct_tax_ms(self) -> float | None:
        """Sampled minus unsampled P50."""
        if self.sampled.p50 is None or self.unsampled.p50 is None:
            return None
        return self.sampled.p50 - self.unsampled.p50

    def document(self) -> dict[str, Any]:
        return {
            "response": self.response.document(),
            "service": self.service.document(),
            "sampled": self.sampled.document(),
            "unsampled": self.unsampled.document(),
            "failed": self.failed.document(),
        }


@dataclass(frozen=True, slots=True)
class Counts:
    """Requests of the measured phase. ``failed`` holds timeouts; ``sent`` those that left."""

    scheduled: int
    sent: int
    ok: int
    failed: int
    dropped: int


def headline(tracing: bool, trace_ratio: float) -> Headline:
    """What ``response_*`` means: unsampled requests, unless tracing leaves none, or is off."""
    return "unsampled" if tracing and trace_ratio < 1.0 else "all"


def latency(samples: pl.DataFrame) -> Latency:
    """``samples`` as in samples.parquet, all phases."""
    of = samples.filter(pl.col("phase") == "measured")
    timed = of.filter(pl.col("status") != "error")
    lags = of.select(pl.col("sent_ns") - pl.col("intended_ns")).to_series().drop_nulls().to_numpy()
    return Latency(
        response=_times(timed, "done_ns", "intended_ns"),
        service=_times(timed.filter(pl.col("status") != "dropped"), "done_ns", "sent_ns"),
        sampled=_times(timed.filter(pl.col("sampled")), "done_ns", "intended_ns"),
        unsampled=_times(timed.filter(~pl.col("sampled")), "done_ns", "intended_ns"),
        failed=_times(of.filter(pl.col("status") == "error"), "done_ns", "intended_ns"),
        lag=quantiles(lags, divisor=MS),
        lag_p99_ms=float(np.sort(lags)[rank(99, len(lags))]) / MS if len(lags) else None,
    )


def entries(samples: pl.DataFrame, kind: Headline) -> list[dict[str, Any]]:
    """Each entry's requests of the measured phase, in order of name: how many were sent and
    sampled, and the response times of those that ``kind`` names."""
    of = samples.filter(pl.col("phase") == "measured")
    rows = []
    for (entry, protocol), mine in sorted(
        of.group_by("entry", "protocol"), key=lambda g: str(g[0])
    ):
        sent = mine.filter(pl.col("sent_ns").is_not_null())
        timed = mine.filter(pl.col("status") != "error")
        if kind == "unsampled":
            timed = timed.filter(~pl.col("sampled"))
        rows.append(
            {
                "entry": entry,
                "protocol": protocol,
                "sent": sent.height,
                "sampled": sent.filter(pl.col("sampled")).height,
                "response_ms": _times(timed, "done_ns", "intended_ns").document(),
            }
        )
    return rows


def _times(samples: pl.DataFrame, to: str, since: str) -> Quantiles:
    ended = (pl.col("status") != "timeout") & pl.col(to).is_not_null()
    took = samples.filter(ended).select(pl.col(to) - pl.col(since)).to_series()
    return quantiles(took.to_numpy(), divisor=MS, endless=samples.height - took.len())


def counts(samples: pl.DataFrame) -> Counts:
    of = samples.filter(pl.col("phase") == "measured")
    by = dict(of.group_by("status").len().iter_rows())
    return Counts(
        scheduled=of.height,
        sent=int(of["sent_ns"].is_not_null().sum()),
        ok=by.get("ok", 0),
        failed=by.get("error", 0) + by.get("timeout", 0),
        dropped=by.get("dropped", 0),
    )


def load_document(load: Load, scheduled: int, count: Counts, lag: Quantiles) -> dict[str, Any]:
    """``load`` of a trial. ``scheduled`` are the arrivals that the schedule has in the measured
    phase, recorded or not."""
    seconds = load.duration_ns / 1e9
    return {
        "model": load.model,
        "arrivals": load.arrivals,
        "rate_rps": load.rate_rps,
        "offered_rps": scheduled / seconds,
        "achieved_rps": count.sent / seconds,
        "sent": count.sent,
        "ok": count.ok,
        "failed": count.failed,
        "dropped": count.dropped,
        "lag_ms": lag.document(),
    }
