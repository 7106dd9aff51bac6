"""What the generator saw of one round: rates and times of the requests due in the measured phase.

response = done − intended, service = done − sent, lag = sent − intended. Dropped requests and
timeouts rank as infinitely slow; requests answered with an error have times of their own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
import polars as pl

from analysis.arrays.quantiles import NS_PER_MS, Quantiles, quantiles, rank
from services.scenario.model import Load

Headline = Literal["unsampled", "all"]

_TIMED: Final = (
    *("phase", "status", "sampled", "entry", "protocol"),
    *("intended_ns", "sent_ns", "done_ns"),
)


@dataclass(frozen=True, slots=True)
class Latency:
    """``latency_ms`` of a trial: of the measured phase's ``ok``, ``timeout`` and dropped."""

    response: Quantiles
    service: Quantiles
    """Without those that were dropped: they were never sent."""
    sampled: Quantiles
    """Response times of sampled requests."""
    unsampled: Quantiles
    failed: Quantiles
    """Response times of requests answered with an error."""

    def headline(self, kind: Headline) -> Quantiles:
        return self.unsampled if kind == "unsampled" else self.response

    @property
    def direct_tax_ms(self) -> float | None:
        """Sampled minus unsampled P50."""
        if self.sampled.p50 is None or self.unsampled.p50 is None:
            return None
        return self.sampled.p50 - self.unsampled.p50


@dataclass(frozen=True, slots=True)
class LoadRow:
    """``load`` of a trial: requests of the measured phase. ``failed`` holds timeouts, ``sent``
    those that left."""

    model: str
    arrivals: str | None
    """None for a closed load, as is ``offered_rps``."""
    rate_rps: float | None
    """None for a load that has not one rate."""
    offered_rps: float | None
    """Arrivals that the schedule has in the measured phase, recorded or not, by its length."""
    achieved_rps: float
    sent: int
    ok: int
    failed: int
    dropped: int
    lag_ms: Quantiles


@dataclass(frozen=True, slots=True)
class EntryRow:
    """An entry's requests of the measured phase, and the response times of those that the headline
    names."""

    entry: str
    protocol: str
    sent: int
    sampled: int
    response_ms: Quantiles


def headline(tracing: bool, trace_ratio: float) -> Headline:
    """What ``response_*`` means: unsampled requests, unless tracing leaves none, or is off."""
    return "unsampled" if tracing and trace_ratio < 1.0 else "all"


def latency(samples: pl.DataFrame) -> Latency:
    """``samples`` as in samples.parquet, all phases."""
    of = _measured(samples)
    timed = of.filter(pl.col("status") != "error")
    return Latency(
        response=_times(timed, "done_ns", "intended_ns"),
        service=_times(timed.filter(pl.col("status") != "dropped"), "done_ns", "sent_ns"),
        sampled=_times(timed.filter(pl.col("sampled")), "done_ns", "intended_ns"),
        unsampled=_times(timed.filter(~pl.col("sampled")), "done_ns", "intended_ns"),
        failed=_times(of.filter(pl.col("status") == "error"), "done_ns", "intended_ns"),
    )


def pooled(samples: Iterable[Path]) -> pl.DataFrame:
    """What these samples.parquet hold of times, as if they were of one round."""
    return pl.concat(pl.read_parquet(path, columns=list(_TIMED), glob=False) for path in samples)


def load_row(load: Load, scheduled: int, samples: pl.DataFrame) -> LoadRow:
    """``scheduled`` arrivals are due in the measured phase."""
    of = _measured(samples)
    by = dict(of.group_by("status").len().iter_rows())
    sent = int(of["sent_ns"].is_not_null().sum())
    seconds = load.duration_ns / 1e9
    return LoadRow(
        model=load.pace.model,
        arrivals=load.pace.arrivals,
        rate_rps=load.pace.steady_rps,
        offered_rps=None if load.pace.model == "closed" else scheduled / seconds,
        achieved_rps=sent / seconds,
        sent=sent,
        ok=by.get("ok", 0),
        failed=by.get("error", 0) + by.get("timeout", 0),
        dropped=by.get("dropped", 0),
        lag_ms=quantiles(_lags(of[:0] if load.pace.model == "closed" else of), divisor=NS_PER_MS),
    )


def lag_p99_ms(samples: pl.DataFrame) -> float | None:
    """By nearest rank whatever the sample's size: for the self-check, which must decide."""
    lags = np.sort(_lags(_measured(samples)))
    return float(lags[rank(99, len(lags))]) / NS_PER_MS if len(lags) else None


def entry_rows(samples: pl.DataFrame, kind: Headline) -> tuple[EntryRow, ...]:
    """In order of name."""
    rows = []
    for (entry, protocol), mine in sorted(
        _measured(samples).group_by("entry", "protocol"), key=lambda g: str(g[0])
    ):
        sent = mine.filter(pl.col("sent_ns").is_not_null())
        timed = mine.filter(pl.col("status") != "error")
        if kind == "unsampled":
            timed = timed.filter(~pl.col("sampled"))
        rows.append(
            EntryRow(
                entry=str(entry),
                protocol=str(protocol),
                sent=sent.height,
                sampled=sent.filter(pl.col("sampled")).height,
                response_ms=_times(timed, "done_ns", "intended_ns"),
            )
        )
    return tuple(rows)


def _measured(samples: pl.DataFrame) -> pl.DataFrame:
    return samples.filter(pl.col("phase") == "measured")


def _lags(measured: pl.DataFrame) -> np.ndarray:
    lags = measured.select(pl.col("sent_ns") - pl.col("intended_ns")).to_series()
    return lags.drop_nulls().to_numpy()


def _times(samples: pl.DataFrame, to: str, since: str) -> Quantiles:
    ended = (pl.col("status") != "timeout") & pl.col(to).is_not_null()
    took = samples.filter(ended).select(pl.col(to) - pl.col(since)).to_series()
    return quantiles(took.to_numpy(), divisor=NS_PER_MS, endless=samples.height - took.len())
