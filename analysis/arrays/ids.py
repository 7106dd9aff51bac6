"""Finding spans by trace and id, all at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

I32 = NDArray[np.int32]


def matched(
    trace: I32, span: I32, among: NDArray[np.integer], wanted_trace: I32, wanted_span: I32
) -> I32:
    """The row among ``among`` whose (trace, span) is the wanted one; -1 where none is.

    Codes are numbers, so a pair is one, too. Of several rows that match, the first in ``among``.
    """
    if len(among) == 0 or len(wanted_trace) == 0:
        return np.full(len(wanted_trace), -1, np.int32)
    width = np.int64(max(int(span.max()), int(wanted_span.max())) + 2)
    own = trace[among].astype(np.int64) * width + span[among]
    order = np.argsort(own, kind="stable")
    known = own[order]
    wanted = wanted_trace.astype(np.int64) * width + wanted_span
    at = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    found = (wanted_trace >= 0) & (wanted_span >= 0) & (known[at] == wanted)
    return np.where(found, among[order][at], -1).astype(np.int32)
