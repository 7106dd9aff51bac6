"""Messages that are too large for one."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from analysis.arrays.quantiles import median
from analysis.findings.observed import Candidate, Observed, Shown, conclude, where_of


def oversize(seen: Observed) -> Iterator[Candidate]:
    """Calls with ``payload_bytes`` or more in the request or the response.

    The cost is the transport's part of such a call, or all of it where only one end is known.
    """
    hops, messages = seen.hops, seen.spans.messages
    if len(hops) == 0:
        return
    size = np.zeros(len(hops), np.int64)
    for rows in (hops.client, hops.server):
        for column in (messages.request_bytes, messages.response_bytes):
            size = np.maximum(size, np.where(rows >= 0, column[rows], 0))
    large = np.flatnonzero(size >= seen.settings.payload_bytes)
    for number in np.unique(hops.place[large]).tolist():
        rows = large[hops.place[large] == number]
        at = hops.places[number]
        tax = hops.tax[rows]
        cost = np.where(tax >= 0, np.minimum(tax, seen.hop_cost[rows]), seen.hop_cost[rows])
        yield conclude(
            seen,
            "payload.oversize",
            where_of(at),
            Shown(
                unit=seen.unit[hops.caller_end[rows]],
                count=np.ones(len(rows), np.int64),
                cost=cost,
                saving=(np.zeros_like(cost), cost),
                rows=(np.arange(len(rows), dtype=np.int32), hops.caller_end[rows]),
            ),
            units_with_place=seen.units_with(at.caller, at.caller_operation),
            confidence="medium",
            text=(
                f"{at.caller}.{at.caller_operation} moves {median(size[rows]) / 1024:.0f} KiB in "
                f"one message to or from {at.target}."
            ),
            refactor=None,
        )
