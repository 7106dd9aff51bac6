"""One figure for several entries: the weighted geometric mean of their ratios.

A quantile of a mixture hides what happens to a part of it. The geometric mean does not depend on
which arm is the base, nor on units (Fleming & Wallace 1986).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from hopbench.statistics import Floats


def combined(log_ratios: Floats, weights: ArrayLike) -> Floats:
    """(..., entries) to (...): the log of the weighted geometric mean, pair by pair.

    Weights need not sum to one. Raises ValueError for one that is negative, for none that is
    positive, and where there are not as many as entries.
    """
    each = np.asarray(weights, np.float64)
    if each.shape != log_ratios.shape[-1:] or (each < 0).any() or not each.sum() > 0:
        raise ValueError("an entry has one weight, not negative, and one of them is positive")
    mean: Floats = log_ratios @ (each / each.sum())
    return mean
