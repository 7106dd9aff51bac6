"""An analyzer: the first call there is, whatever it does, is too loud."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from analysis.findings.observed import Candidate, Observed, Shown, conclude, where_of


def loud(seen: Observed) -> Iterator[Candidate]:
    first = np.zeros(1, np.int64)
    at = seen.hops.places[int(seen.calls.place[0])]
    yield conclude(
        seen,
        "loud.caller",
        where_of(at),
        Shown(
            unit=seen.call_unit[first],
            count=first + 1,
            cost=seen.call_cost[first],
            saving=(first, first),
            rows=(first.astype(np.int32), seen.hops.caller_end[:1]),
        ),
        units_with_place=1,
        confidence="low",
        text=f"{at.caller} calls {at.target}.",
        refactor=None,
    )
