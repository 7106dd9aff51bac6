"""How far apart two samples lie, by their ranks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray


def apart(a: NDArray[Any], b: NDArray[Any]) -> float:
    """The rank-sum statistic of two samples, in standard deviations (Mann & Whitney 1947)."""
    order = np.argsort(np.concatenate((a, b)), kind="stable")
    ranks = np.empty(order.size)
    ranks[order] = np.arange(1, order.size + 1)
    mean = a.size * (order.size + 1) / 2
    return float(abs(ranks[: a.size].sum() - mean) / math.sqrt(mean * b.size / 6))
