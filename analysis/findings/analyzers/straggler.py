"""Stragglers: calls of one edge that take far longer than their siblings.

- *at once*: among the overlapping calls of a context, one that takes ``straggler_ratio`` times
  the median of them. It costs what the context waited for it alone: from the end of the last call
  that does not straggle to the end of the last that does.
- *in turn*: where no calls of a context overlap, an instance that stands out, and whose calls take
  ``straggler_ratio`` times the median of those that others answer, at P50. They cost what they
  take above that median. Only an instance: each of such calls is waited for, slow by chance or not.

An edge whose calls are now at once and now in turn has the one that costs most in all requests.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np

from analysis.arrays import I32, I64, Bool
from analysis.arrays.grouping import counted, highest, summed
from analysis.arrays.quantiles import NEEDED, NS_PER_MS, median, rank
from analysis.figures import ms
from analysis.findings.analyzers.siblings import Siblings, by_edge, each
from analysis.findings.finding import Confidence
from analysis.findings.observed import Candidate, Observed, Shown, conclude, of_calls, where_of
from analysis.traces.pairs import Place
from services.scenario.text.units import time_text

_MOST: Final = 0.5
"""Of the requests: what happens in so many happens at the P50."""


class _Found(NamedTuple):
    candidate: Candidate
    cost: int
    """ns, in all requests."""


def stragglers(seen: Observed) -> Iterator[Candidate]:
    groups = by_edge(seen).at_least(seen.settings.straggler_siblings)
    overlap = groups.peak >= 2
    at_once = dict(_at_once(groups.only(overlap)))
    in_turn = dict(_in_turn(groups.only(~overlap)))
    for number in sorted(at_once.keys() | in_turn.keys()):
        both = [found[number] for found in (at_once, in_turn) if number in found]
        yield min(both, key=lambda of: (of.candidate.minor, -of.cost)).candidate


# -- at once ---------------------------------------------------------------------------------


class _Late(NamedTuple):
    groups: Siblings
    slow: Bool
    """By member: it straggles."""
    middle: I64
    """By group: the median duration, ns."""
    cost: I64
    """By group: what was waited for stragglers alone, on the critical path."""


def _at_once(groups: Siblings) -> Iterator[tuple[int, _Found]]:
    """By number of the place."""
    if groups.count == 0:
        return
    seen = groups.seen
    late = _late(seen, groups)
    struck = counted(groups.group[late.slow], groups.count) > 0
    for number, of_place in each(_places(groups)):
        which = of_place[struck[of_place]]
        if len(which):
            candidate = _straggling(late, seen.hops.places[number], of_place, which)
            yield number, _Found(candidate, int(late.cost[which].sum()))


def _late(seen: Observed, groups: Siblings) -> _Late:
    duration = groups.end - groups.start
    order = np.lexsort((duration, groups.group))
    begins = np.searchsorted(groups.group[order], np.arange(groups.count))
    middle_at = begins + np.array([rank(50, int(n)) for n in groups.size], np.int64)
    middle = duration[order][middle_at]
    slow = (duration >= seen.settings.straggler_ratio * middle[groups.group]) & (duration > 0)
    least = int(groups.start.min())
    usual_end = highest(groups.group[~slow], groups.end[~slow] - least, groups.count)
    last_end = highest(groups.group, groups.end - least, groups.count)
    alone = np.maximum(last_end - usual_end, 0)
    waited = summed(groups.group[slow], seen.call_cost[groups.call[slow]], groups.count)
    return _Late(groups, slow, middle, np.minimum(alone, waited))


def _straggling(late: _Late, at: Place, of_place: I64, which: I64) -> Candidate:
    """``of_place`` are the groups of this place, ``which`` those of them that straggle."""
    groups, seen = late.groups, late.groups.seen
    member, case = groups.members(which)
    member, case = member[late.slow[member]], case[late.slow[member]]
    siblings, _ = groups.members(of_place)
    slow = late.slow[siblings]
    code = _stands_out(seen, _instances(seen, groups.call[siblings]), slow)
    instance = None if code is None else seen.spans.name(code)
    typical = median(late.middle[which])
    longest = highest(case, (groups.end - groups.start)[member], len(which))
    share = float(slow.mean())
    size = int(median(groups.size[which]))
    times = median(longest) / max(typical, 1)
    struck, all_ = (len(np.unique(_units(groups, these))) for these in (which, of_place))
    text = (
        f"Of {size} calls of {at.target} at once, the slowest takes {times:.1f} times the median; "
        f"{share:.0%} of single calls straggle, in {struck:,} of {all_:,} requests"
    )
    text += f". Most of them are answered by {instance}." if instance else "."
    took = (groups.end - groups.start)[siblings]
    delay = _delay(took[~slow])
    confidence: Confidence = "high" if instance else "medium"
    refactor: dict[str, Any] | None = None
    # A hedge waits for the delay before it asks again, and then for another median.
    gain = (late.cost[which] - delay, late.cost[which])
    nothing = (np.zeros_like(gain[0]), np.zeros_like(gain[1]))
    if not (took > delay).any():
        # Slow ones among slow siblings are no stragglers there, and set the delay.
        text += " So many are that slow by chance that a hedge would come too late."
    elif _hedgeable(seen, at, groups.call[member]):
        refactor = _hedge(seen, at, delay)
        text += f" {_sent_twice(took, delay)}"
        # Where it is chance, and no instance, the second attempt is as often slow as the first.
        still = 0.0 if instance else 1 - (1 - share**2) ** size
        if still > 0:
            text += f", and by chance both are slow in {still:.0%} of requests"
        text += "."
        if still >= _MOST:
            refactor = None
    if refactor is None:
        gain = nothing
    return conclude(
        seen,
        "fanout.straggler",
        where_of(at, instance),
        Shown(
            unit=_units(groups, which),
            count=groups.size[which],
            cost=late.cost[which],
            saving=gain,
            rows=of_calls(seen, case, groups.call[member]),
        ),
        units_with_place=seen.units_with(at.caller, at.caller_operation),
        confidence=confidence,
        text=text,
        refactor=refactor,
    )


# -- in turn ---------------------------------------------------------------------------------


class _Slow(NamedTuple):
    instance: int
    middle: float
    """Of its calls, ns."""
    others: float
    """Of those that others answer, ns."""
    late: Bool
    """By call, whoever answers."""


def _in_turn(groups: Siblings) -> Iterator[tuple[int, _Found]]:
    """By number of the place. A message is not waited for until somebody has handled it."""
    seen = groups.seen
    groups = groups.only(~seen.hops.messages[seen.calls.first[groups.call[groups.first]]])
    if groups.count == 0:
        return
    for number, of_place in each(_places(groups)):
        member, _ = groups.members(of_place)
        instance = _instances(seen, groups.call[member])
        slow = _slow_one(seen, instance, (groups.end - groups.start)[member])
        if slow is not None:
            yield number, _one_of_them(groups, seen.hops.places[number], of_place, slow)


def _slow_one(seen: Observed, instance: I32, took: I64) -> _Slow | None:
    """Of the calls of one place, where both medians can be known."""
    order = np.lexsort((took, instance))
    order = order[instance[order] >= 0]
    codes, begins, sizes = np.unique(instance[order], return_index=True, return_counts=True)
    enough = sizes >= NEEDED[50]
    if len(codes) < 2 or not enough.any():
        return None
    middles = took[order][begins + np.array([rank(50, int(n)) for n in sizes], np.int64)]
    worst = int(np.where(enough, middles, -1).argmax())
    code, middle = int(codes[worst]), int(middles[worst])
    siblings = took[(instance >= 0) & (instance != code)]
    if len(siblings) < NEEDED[50]:
        return None
    others = median(siblings)
    bar = seen.settings.straggler_ratio * others
    late = (took >= bar) & (took > 0)
    if middle < bar or _stands_out(seen, instance, late) != code:
        return None
    return _Slow(code, middle, others, late)


def _one_of_them(groups: Siblings, at: Place, of_place: I64, slow: _Slow) -> _Found:
    """``of_place`` are the groups of this place."""
    seen = groups.seen
    member, case = groups.members(of_place)
    call = groups.call[member]
    took = (groups.end - groups.start)[member]
    its = _instances(seen, call) == slow.instance
    late = counted(case[its & slow.late], len(of_place))
    above = np.maximum(seen.call_cost[call] - int(slow.others), 0)
    cost = summed(case[its], above[its], len(of_place))
    struck = np.flatnonzero(late)
    number = np.cumsum(late > 0) - 1
    shown = its & slow.late
    name = seen.spans.name(slow.instance)
    text = (
        f"{at.caller}.{at.caller_operation} calls {at.target} "
        f"{int(median(groups.size[of_place[struck]]))} times in one request, one after another; "
        f"{name} is the slow one: P50 {ms(slow.middle / NS_PER_MS)} against "
        f"{ms(slow.others / NS_PER_MS)} of the others; {its.mean():.0%} of calls."
    )
    delay = _delay(took[~slow.late])
    refactor = None
    if _hedgeable(seen, at, call):
        refactor = _hedge(seen, at, delay)
        text += f" {_sent_twice(took, delay)}."
    candidate = conclude(
        seen,
        "fanout.straggler",
        where_of(at, name),
        Shown(
            unit=_units(groups, of_place[struck]),
            count=groups.size[of_place[struck]],
            cost=cost[struck],
            # A hedge waits for the delay before it asks again, and then for another median.
            saving=(np.zeros_like(cost[struck]), np.zeros_like(cost[struck]))
            if refactor is None
            else (cost[struck] - delay * late[struck], cost[struck]),
            rows=of_calls(seen, number[case[shown]], call[shown]),
        ),
        units_with_place=seen.units_with(at.caller, at.caller_operation),
        confidence="high",
        text=text,
        refactor=refactor,
    )
    return _Found(candidate, int(cost[struck].sum()))


# -- both ------------------------------------------------------------------------------------


def _places(groups: Siblings) -> I32:
    return groups.seen.calls.place[groups.call[groups.first]]


def _units(groups: Siblings, which: I64) -> I32:
    seen = groups.seen
    return seen.unit[seen.calls.context[groups.call[groups.first[which]]]]


def _instances(seen: Observed, calls: I64) -> I32:
    """Who was asked, -1 where nobody says. The attempt that was asked first tells who straggles,
    also where a hedge answered."""
    server = seen.hops.server[seen.calls.first[calls]]
    return np.where(server >= 0, seen.spans.instance[server], np.int32(-1))


def _stands_out(seen: Observed, instance: I32, slow: Bool) -> int | None:
    """The instance that answers most of the straggling calls, and more than its share."""
    known = instance >= 0
    codes, of = np.unique(instance[known], return_inverse=True)
    late = slow[known]
    if len(codes) < 2 or not late.any():
        return None
    answered, straggled = np.bincount(of), np.bincount(of[late], minlength=len(codes))
    worst = int(straggled.argmax())
    share = straggled[worst] / late.sum()
    expected = answered[worst] / answered.sum()
    settings = seen.settings
    if share < settings.instance_share or share < settings.instance_excess * expected:
        return None
    return int(codes[worst])


def _hedgeable(seen: Observed, at: Place, calls: I64) -> bool:
    """A topic has no other replica to ask, and a message no answer to wait for."""
    asks = at.protocol != "kafka" and not seen.hops.messages[seen.calls.first[calls]].any()
    return asks and (not seen.facts.known or seen.facts.replicas.get(at.callee, 1) > 1)


def _hedge(seen: Observed, at: Place, delay: int) -> dict[str, Any]:
    return {"op": "hedge", "edge": seen.edge(at), "after": time_text(float(delay))}


def _delay(usual: I64) -> int:
    """Before a second attempt, ns: as long as nearly all that do not straggle take."""
    return _two_digits_up(int(np.sort(usual)[rank(95, len(usual))]))


def _sent_twice(took: I64, delay: int) -> str:
    share = (took > delay).mean()
    return f"Hedged after {time_text(float(delay))}, {share:.0%} of the calls are sent twice"


def _two_digits_up(ns: int) -> int:
    """A time a person would write, no shorter."""
    unit: int = 10 ** max(len(str(ns)) - 2, 0)
    return max(-(-ns // unit), 1) * unit
