"""Chattiness: many calls of one edge on behalf of one request.

Calls are grouped by context (the nearest SERVER or CONSUMER above) and edge. A group of
``chatty_calls`` or more is, in this order,

- *redundant* where so many share one key: cache it. A call without a key is never redundant;
- *parallel* where calls overlap: batch or bound it. At its peak ``chatty_peak`` or more in flight;
  2 to that is minor. Not where Facts say that the calls are spread over replicas: then the
  parallel calls are the point. A storm (fanout.py) supersedes it;
- *sequential* else: batch it.

Where requests differ, an edge has the class that costs most in all of them
(analysis/findings/claims.py). Fewer calls in turn, from ``chatty_few`` on, are minor, and told only
where a scenario says what they would save.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final, Literal, NamedTuple

import numpy as np

from analysis.arrays import I64
from analysis.arrays.grouping import counted, distinct, highest
from analysis.arrays.quantiles import median
from analysis.findings.analyzers.siblings import Siblings, by_edge, claims, each, stormy_contexts
from analysis.findings.finding import Confidence
from analysis.findings.observed import Candidate, Observed, Shown, conclude, of_calls, where_of
from analysis.traces.pairs import Place

Class = Literal["redundant", "parallel", "sequential"]
CLASSES: Final[tuple[Class, ...]] = ("redundant", "parallel", "sequential")


class _Keys(NamedTuple):
    most: I64
    """Calls that share the commonest key, by group."""
    distinct: I64
    unkeyed: I64


def chatty(seen: Observed) -> Iterator[Candidate]:
    every = by_edge(seen)
    groups = every.at_least(seen.settings.chatty_calls)
    if seen.facts.known:
        yield from _few(every, groups)
    if groups.count == 0:
        return
    keys = _keys(groups)
    redundant = keys.most >= seen.settings.chatty_calls
    parallel = ~redundant & (groups.peak >= 2)
    place = seen.calls.place[groups.call[groups.first]]
    stormy = np.isin(seen.calls.context[groups.call[groups.first]], stormy_contexts(seen))
    of_class = {
        "redundant": redundant,
        "parallel": parallel & ~stormy,
        "sequential": ~redundant & ~parallel,
    }
    for number, of_place in each(place):
        at = seen.hops.places[number]
        spread = seen.facts.replicas.get(at.callee, 1) > 1
        for name in CLASSES:
            which = of_place[of_class[name][of_place]]
            if len(which) and not (name == "parallel" and spread):
                yield _candidate(groups, keys, at, name, which)


def _few(every: Siblings, many: Siblings) -> Iterator[Candidate]:
    """Of edges that no request calls often enough."""
    seen = every.seen
    often = np.unique(seen.calls.place[many.call])
    few = every.at_least(seen.settings.chatty_few)
    few = few.only(few.peak < 2)
    few = few.only(~np.isin(seen.calls.place[few.call[few.first]], often))
    if few.count == 0:
        return
    keys = _keys(few)
    place = seen.calls.place[few.call[few.first]]
    for number, which in each(place):
        at = seen.hops.places[number]
        if (at.caller, at.caller_operation, at.target, at.target) not in seen.facts.dependent:
            yield replace(_candidate(few, keys, at, "sequential", which), minor=True)


def _keys(groups: Siblings) -> _Keys:
    key = groups.seen.calls.key[groups.call]
    keyed = np.flatnonzero(key >= 0)
    unkeyed = groups.size - counted(groups.group[keyed], groups.count)
    if len(keyed) == 0:
        nothing = np.zeros(groups.count, np.int64)
        return _Keys(nothing, nothing, unkeyed)
    same = distinct(groups.group[keyed], key[keyed])
    group_of_same = groups.group[keyed][same.first]
    return _Keys(
        most=highest(group_of_same, counted(same.of, same.count), groups.count),
        distinct=counted(group_of_same, groups.count),
        unkeyed=unkeyed,
    )


def _candidate(groups: Siblings, keys: _Keys, at: Place, name: Class, which: I64) -> Candidate:
    seen, settings = groups.seen, groups.seen.settings
    minor = False
    if name == "parallel":
        bursts = which[groups.peak[which] >= settings.chatty_peak]
        units = seen.call_unit[groups.call[groups.first]]
        enough = settings.trace_share * seen.units_with(at.caller, at.caller_operation)
        often = len(bursts) > 0 and len(np.unique(units[bursts])) >= enough
        minor = not often
        which = bursts if often else which
    member, case = groups.members(which)
    context = seen.calls.context[groups.call[groups.first[which]]]
    size, cost = groups.size[which], groups.cost[which]
    most = int(size.max())
    unkeyed = bool(keys.unkeyed[which].any())

    typical = int(median(size))
    text = f"{at.caller}.{at.caller_operation} calls {at.target} {typical} times in one request"
    confidence: Confidence = "high"
    saving: tuple[I64, I64]
    refactor: dict[str, object] | None = {"op": "batch", "edge": seen.edge(at), "size": most}
    target = at.target
    chained = (at.caller, at.caller_operation, target, target) in seen.facts.dependent
    match name:
        case "redundant":
            asked = keys.distinct[which] + keys.unkeyed[which]
            text += f", for {int(median(asked))} distinct keys: the answers could be kept"
            spared = cost * (size - asked) // size
            saving = (np.where(groups.peak[which] > 1, 0, spared), spared)
            refactor = {"op": "cache", "edge": seen.edge(at), "scope": "request"}
        case "parallel":
            text += f", up to {int(median(groups.peak[which]))} at once: one call could carry all"
            rest = groups.union[which] - groups.total[which] // size
            saving = (np.zeros_like(rest), rest)
            confidence = "medium"
        case "sequential" if chained:
            text += ", one after another, and a later one needs what an earlier one gave"
            saving = (np.zeros_like(cost), np.zeros_like(cost))
            refactor = None
        case "sequential":
            text += ", one after another: one call could carry all"
            tax = _tax(seen, groups.call[member])
            saving = ((size - 1) * tax, cost - groups.longest[which])
    if unkeyed and name != "redundant":
        text += "; calls carry no key, so repeated ones cannot be told from distinct ones"
    found = conclude(
        seen,
        f"chatty.{name}",
        where_of(at),
        Shown(
            unit=seen.unit[context],
            count=size,
            cost=cost,
            saving=saving,
            rows=of_calls(seen, case, groups.call[member]),
        ),
        units_with_place=seen.units_with(at.caller, at.caller_operation),
        confidence=confidence,
        text=text + ".",
        refactor=refactor,
        minor=minor,
    )
    return replace(found, claims=claims(seen, groups.call[member]))


def _tax(seen: Observed, calls: I64) -> int:
    tax = seen.hops.tax[seen.calls.answered[calls]]
    return int(median(tax[tax >= 0]))
