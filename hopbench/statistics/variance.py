"""Where the variance of a log quantile lies: between rounds, between slices of one, within a slice.

A nested random-effects analysis of variance by moments (Searle, Casella & McCulloch, Variance
Components, 3): y = mean + round + slice + part, where the slices of a round (minutes, say) are cut
into parts of equal length, and y is the log quantile of a part. Mean squares have the expectations

    within     = v_part
    slices     = v_part + parts v_slice
    rounds     = v_part + parts v_slice + parts slices v_round

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
    """Process instances: one round, one start of the services."""
    between_slices: float
    within: float
    """Of one part; falls as parts are made longer."""

    @property
    def shares(self) -> tuple[float, float, float]:
        """Of the sum, in this order; zeros where nothing varies."""
        each = (self.between_restarts, self.between_slices, self.within)
        total = sum(each)
        return each if total == 0 else (each[0] / total, each[1] / total, each[2] / total)


def decompose(logs: Floats) -> Variance:
    """``logs``: (rounds, slices, parts). Raises ValueError where a level has fewer than two."""
    if logs.ndim != 3 or min(logs.shape) < 2:
        raise ValueError("two rounds, of two slices, of two parts at least")
    rounds, slices, parts = logs.shape
    of_slices = logs.mean(axis=2)
    of_rounds = of_slices.mean(axis=1)
    within = float(np.var(logs, axis=2).sum()) * parts / (rounds * slices * (parts - 1))
    between_slices = float(np.var(of_slices, axis=1, ddof=1).mean()) * parts
    between_rounds = float(np.var(of_rounds, ddof=1)) * parts * slices
    return Variance(
        between_restarts=max(0.0, (between_rounds - between_slices) / (parts * slices)),
        between_slices=max(0.0, (between_slices - within) / parts),
        within=within,
    )
