"""Retry storms: edges over which attempts multiply."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from analysis.arrays import I64
from analysis.arrays.grouping import counted, summed
from analysis.findings.observed import Candidate, Observed, Shown, conclude, where_of


def retry_storms(seen: Observed) -> Iterator[Candidate]:
    """Where attempts, hedges not counted, are ``retry_ratio`` times the calls or more. What is
    waited for before the attempt that answered begins, attempts and pauses, is the cost."""
    calls, hops = seen.calls, seen.hops
    tries = (calls.attempts - calls.hedges).astype(np.int64)
    if len(calls) == 0 or not (tries > 1).any():
        return
    places = len(hops.places)
    attempts = summed(calls.place, tries, places)
    asked = counted(calls.place, places)
    wasted = _wasted(seen)
    for number in np.flatnonzero(
        (asked > 0) & (attempts >= seen.settings.retry_ratio * asked)
    ).tolist():
        at = hops.places[number]
        of_place = np.flatnonzero((calls.place == number) & (tries > 1))
        case = np.full(len(calls), -1, np.int32)
        case[of_place] = np.arange(len(of_place))
        mine = np.flatnonzero(case[hops.call] >= 0)
        cost = wasted[of_place]
        ratio = attempts[number] / asked[number]
        yield conclude(
            seen,
            "retry.storm",
            where_of(at),
            Shown(
                unit=seen.call_unit[of_place],
                count=tries[of_place],
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


def _wasted(seen: Observed) -> I64:
    """By call, ns of the critical path before the attempt that answered began.

    Where that one is on the path, all of the time since the first began is, but for what the path
    spends in other calls of the same context; where it is not, its other attempts may be.
    """
    calls, hops, path = seen.calls, seen.hops, seen.path
    answered = np.zeros(len(hops), np.bool_)
    answered[calls.answered] = True
    attempts = summed(hops.call, np.where(answered, 0, seen.hop_cost), len(calls))
    last = hops.caller_end[calls.answered]
    parent = path.forest.parent[last]
    waits = path.on_path[last] & (parent >= 0)
    to = np.where(waits, path.lo[last], 0)
    since = np.where(waits, np.minimum(np.maximum(calls.start, path.lo[parent]), to), 0)
    here = np.flatnonzero(waits)
    wasted = attempts.copy()
    whole = to[here] - since[here]
    others = path.below(parent[here], since[here], to[here]) - attempts[here]
    wasted[here] = whole - np.maximum(others, 0)
    return wasted
