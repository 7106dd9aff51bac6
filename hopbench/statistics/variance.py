"""Where the variance of a log quantile lies: between slices of time, between restarts, within.

A nested random-effects analysis of variance by moments (Searle, Casella & McCulloch, Variance
Components, 3): y = mean + slice + restart + part. A slice is a stretch of time (a block, minutes
from the next), a restart a round of one arm in it, with processes of its own; a round is cut into
parts of equal length, and y is the log quantile of a part. Mean squares have the expectations

    within     = v_part
    restarts   = v_part + parts v_restart
    slices     = v_part + parts v_restart + parts restarts v_slice

solved from the bottom up. A component may come out negative where it is small; it is then zero,
which the next one up is not made to pay for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hopbench.statistics import Floats


@dataclass(frozen=True, slots=True)
class Variance:
    """Of the log quantile; the root of each is about a share (0.08 is 8 %)."""

    between_restarts: float
    between_slices: float
    within: float
    """Of one part; falls as parts are made longer."""


def decompose(logs: Floats) -> Variance:
    """``logs``: (slices, restarts, parts). Raises ValueError where a level has fewer than two."""
    if logs.ndim != 3 or min(logs.shape) < 2:
        raise ValueError("two slices, of two restarts, of two parts at least")
    slices, restarts, parts = logs.shape
    of_restarts = logs.mean(axis=2)
    of_slices = of_restarts.mean(axis=1)
    within = float(np.var(logs, axis=2).sum()) * parts / (slices * restarts * (parts - 1))
    between_restarts = float(np.var(of_restarts, axis=1, ddof=1).mean()) * parts
    between_slices = float(np.var(of_slices, ddof=1)) * parts * restarts
    return Variance(
        between_restarts=max(0.0, (between_restarts - within) / parts),
        between_slices=max(0.0, (between_slices - between_restarts) / (parts * restarts)),
        within=within,
    )
