"""Retry storms: edges over which attempts multiply."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from analysis.arrays.grouping import counted, summed
from analysis.findings.observed import Candidate, Observed, Shown, conclude, where_of


def retry_storms(seen: Observed) -> Iterator[Candidate]:
    """Where attempts are ``retry_ratio`` times the calls or more. Attempts before the one that
    answered are the cost."""
    calls, hops = seen.calls, seen.hops
    if len(calls) == 0 or not (calls.attempts > 1).any():
        return
    places = len(hops.places)
    attempts = summed(calls.place, calls.attempts, places)
    asked = counted(calls.place, places)
    answered = np.zeros(len(hops), np.bool_)
    answered[calls.answered] = True
    wasted = np.where(answered, 0, seen.hop_cost)
    for number in np.flatnonzero(
        (asked > 0) & (attempts >= seen.settings.retry_ratio * asked)
    ).tolist():
        at = hops.places[number]
        of_place = np.flatnonzero((calls.place == number) & (calls.attempts > 1))
        case = np.full(len(calls), -1, np.int32)
        case[of_place] = np.arange(len(of_place))
        mine = np.flatnonzero(case[hops.call] >= 0)
        cost = summed(case[hops.call[mine]], wasted[mine], len(of_place))
        ratio = attempts[number] / asked[number]
        yield conclude(
            seen,
            "retry.storm",
            where_of(at),
            Shown(
                unit=seen.call_unit[of_place],
                count=calls.attempts[of_place].astype(np.int64),
                cost=cost,
                saving=(np.zeros_like(cost), cost),
                rows=(case[hops.call[mine]], hops.caller_end[mine]),
            ),
            units_with_place=seen.units_with(at.caller, at.caller_operation),
            confidence="high",
            text=(
                f"{at.caller}.{at.caller_operation} needs {ratio:.1f} attempts for each call of "
                f"{at.target}: {int(attempts[number])} attempts, {int(asked[number])} calls."
            ),
            refactor=None,
        )
