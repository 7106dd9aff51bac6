"""Whether a trace is whole.

A trace is complete when every parent resolves, every CLIENT span without error has its SERVER and
every PRODUCER without error at least one CONSUMER (OUTPUT.md, "Basis"). Anybody else's traces end
at databases and services without instrumentation, so there only parents count.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from analysis.pairs import Hops
from analysis.spans.table import Flag, SpanTable


def complete_traces(spans: SpanTable, hops: Hops, *, both_ends: bool) -> NDArray[np.bool_]:
    """One mark for each trace code. ``both_ends``: hops without their other end count, too."""
    whole = np.ones(spans.traces, np.bool_)
    whole[spans.trace[spans.has(Flag.ORPHAN)]] = False
    if both_ends:
        alone = (hops.server < 0) & (hops.client >= 0) & ~hops.error
        whole[spans.trace[hops.client[alone]]] = False
    return whole
