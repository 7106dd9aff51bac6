"""Contexts with more calls in flight at once than is healthy, whatever the edges."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from analysis.analyzers.siblings import Siblings, by_context
from analysis.observed import Observed


def storms(seen: Observed) -> Siblings:
    """Calls grouped by context, where more than ``storm_peak`` are in flight at once."""
    groups = by_context(seen).at_least(seen.settings.storm_peak + 1)
    return groups.only(groups.peak > seen.settings.storm_peak)


def stormy_contexts(seen: Observed) -> NDArray[np.int32]:
    groups = storms(seen)
    return seen.calls.context[groups.call[groups.first]]
