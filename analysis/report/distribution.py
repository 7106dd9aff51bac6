"""Latency distributions from a run's samples: the quantile curve of each variant.

Raw samples, never buckets. What was dropped or timed out ranks above everything, so a curve ends
where the rest of its requests never answered (docs/measurement.md, "What the figures cover").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from analysis.arrays.quantiles import NS_PER_MS

POINTS: tuple[float, ...] = tuple(
    sorted({0.5, 0.95, *(round(1 - 10 ** (-k / 40), 6) for k in range(121))})
)
"""Evenly spaced in nines, 0 to 0.999; and two that are often read."""


@dataclass(frozen=True, slots=True)
class Curve:
    """``ms[i]`` is the response time at quantile ``POINTS[i]``; None where nothing answered or
    where fewer than ten requests lie beyond the quantile."""

    variant: str
    requests: int
    ms: tuple[float | None, ...]


def curve(variant: str, samples: Sequence[Path], headline: str) -> Curve | None:
    """Pool the measured requests of these sample files; None where there are none.

    ``headline`` ``unsampled`` keeps unsampled requests only, as the summary does.
    """
    frames = []
    for path in samples:
        frame = pl.read_parquet(
            path, columns=["intended_ns", "done_ns", "status", "sampled", "phase"], glob=False
        ).filter(pl.col("phase") == "measured")
        if headline == "unsampled":
            frame = frame.filter(~pl.col("sampled"))
        frames.append(frame)
    if not frames:
        return None
    pooled = pl.concat(frames)
    total = pooled.height
    if total == 0:
        return None
    answered = pooled.filter((pl.col("status") == "ok") & pl.col("done_ns").is_not_null())
    failed = pooled.filter(pl.col("status") == "error").height
    times = np.sort((answered["done_ns"] - answered["intended_ns"]).to_numpy()) / NS_PER_MS
    ranked = total - failed
    if ranked <= 0:
        return Curve(variant, total, (None,) * len(POINTS))
    values: list[float | None] = []
    for q in POINTS:
        rank = max(1, int(np.ceil(q * ranked)))
        known = rank <= len(times) and (q == 0.0 or ranked * (1 - q) >= 10)
        values.append(round(float(times[rank - 1]), 4) if known else None)
    return Curve(variant, total, tuple(values))
