"""What a refactor gives: the same requests, answered without and with it, in virtual time."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from analysis.arrays.quantiles import median, rank
from analysis.findings.finding import saves_at
from hopbench.results.promises.requests import Numbers, Part
from services.scenario.model import EdgeRef, Refactor, Scenario, Target
from services.scenario.refactors import operator_of
from services.simulation.replay import SpanCount
from services.simulation.round import simulate
from services.telemetry.port import Attempt
from services.transports.memory import Latency, no_latency
from services.wire.ports import Status, TraceContext, Wire

WORTH: Final = 0.02
"""Of the requests' P50: what a refactor gives less is not worth a promise."""
RARE: Final = 0.2
"""Of the requests that use what is refactored: fewer that it changes are chance."""
_SURE: Final = 0.98
"""Of all rounds, whose gain the range holds."""
_RESAMPLES: Final = 400
FEWEST_ROUNDS: Final = 3
_T: Final = {2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306}
"""Student's t at 97.5 % by degrees of freedom."""


@dataclass(frozen=True, slots=True)
class Answered:
    """The requests of a simulation that were answered well."""

    took_ns: Mapping[int, int]
    """By number."""
    users: Mapping[int, Collection[int]]
    """By edge (its index in the scenario's topology): the numbers of those that called over it."""
    wires: tuple[Wire, ...]

    def of(self, refactor: Refactor) -> frozenset[int]:
        """Those that use what the refactor changes: its edge, calls of its operation or of its
        service. A service that nobody calls is the entry's."""
        concerned = [wire for wire in self.wires if _concerns(refactor, wire)]
        if not concerned and isinstance(getattr(refactor, "at", None), str):
            return frozenset(self.took_ns)
        return frozenset().union(*(self.users.get(wire.index, ()) for wire in concerned))


def answered(
    scenario: Scenario, part: Part, measured_from_ns: int, latency: Latency = no_latency
) -> Answered:
    """The part in virtual time, but for its lead."""
    users: dict[int, set[int]] = {}
    result = simulate(
        scenario,
        part.seed,
        part.due,
        measured_from_ns,
        lambda service, replica, numbered, clock: _Uses(users),
        latency=latency,
    )
    return Answered(
        {
            of.number: of.done_ns - of.sent_ns
            for of in result.outcomes[part.lead :]
            if of.done_ns is not None and of.sent_ns is not None and of.status is Status.OK
        },
        users,
        result.topology.wires,
    )


def pairs(refactor: Refactor, before: Answered, after: Answered) -> Numbers:
    """ns without and with the refactor, a row for each request in which its finding occurs.

    Of a hedge those that use the edge; else those among them that the refactor changes, where they
    are more than a few.
    """
    used = sorted(before.of(refactor) & before.took_ns.keys() & after.took_ns.keys())
    both = np.array([(before.took_ns[n], after.took_ns[n]) for n in used], np.int64).reshape(-1, 2)
    if at_tail(refactor):
        return both
    changed: Numbers = both[both[:, 0] != both[:, 1]]
    if len(changed) <= RARE * len(both):
        changed = changed[:0]
    return changed


def gain_ns(refactor: Refactor, both: Numbers) -> Numbers:
    """What the refactor gives by ``both``, of which the last two axes are those of :func:`pairs`.

    The median of the differences; of a hedge the difference of the P95s.
    """
    n = both.shape[-2]
    if at_tail(refactor):
        before, after = (np.sort(both[..., i], axis=-1) for i in (0, 1))
        gain: Numbers = (before - after)[..., rank(_at(refactor), n)]
    else:
        gain = np.sort(both[..., 0] - both[..., 1], axis=-1)[..., rank(50, n)]
    return gain


def at_tail(refactor: Refactor) -> bool:
    """Whether its saving is one of the slowest requests, and not of the middle ones."""
    return _at(refactor) != 50


def _at(refactor: Refactor) -> int:
    return saves_at(operator_of(refactor)[0])


def worth(refactor: Refactor, both: Numbers) -> bool:
    """Whether ``both`` shows a gain that may be promised: :data:`WORTH` of their P50 or more."""
    return len(both) > 0 and bool(gain_ns(refactor, both) >= WORTH * median(both[:, 0]) > 0)


def range_ns(refactor: Refactor, parts: Sequence[Numbers], others: int) -> tuple[int, int]:
    """Where the gain over ``others`` requests lies that are not these, in :data:`_SURE` of cases.

    Both samples are by chance: resamples of ``n·m / (n + m)`` of n requests spread as the gain of
    m others does about theirs. (Of the median it is, nearly, the distribution-free interval of
    Fligner and Wolfe, 1976.) The requests of a busy stretch are no independent sample, so the range
    holds the gain of each part, too.
    """
    both = np.concatenate(parts)
    n = len(both)
    size = max(1, round(n * others / (n + others)))
    chosen = np.random.default_rng(0).integers(0, n, (_RESAMPLES, size))
    gains = np.sort(gain_ns(refactor, both[chosen]))
    off = round(_RESAMPLES * (1 - _SURE) / 2)
    of_parts = [int(gain_ns(refactor, part)) for part in parts if 2 * len(part) * len(parts) > n]
    ends = (int(gains[off]), int(gains[-1 - off]), *of_parts)
    return min(ends), max(ends)


def of_rounds_ns(refactor: Refactor, rounds: Sequence[Numbers]) -> tuple[int, int]:
    """Where the gain of one more round lies, by those of three rounds or more: the prediction
    interval of a normal distribution, at 95 %. Zeros where there are fewer.

    Requests that wait behind each other are no independent sample, so a round is one value.
    """
    gains = np.array([gain_ns(refactor, both) for both in rounds if len(both)], np.float64)
    n = len(gains)
    if n < FEWEST_ROUNDS:
        return 0, 0
    off = _T[n - 1] * float(gains.std(ddof=1)) * np.sqrt(1 + 1 / n)
    return round(float(gains.mean()) - off), round(float(gains.mean()) + off)


class _Uses(SpanCount):
    """Which requests call over which edge: their trace says who they are."""

    __slots__ = ("_users",)

    def __init__(self, users: dict[int, set[int]]) -> None:
        super().__init__()
        self._users = users

    def attempt_begin(self, wire: Wire, parent: TraceContext, *, fanout: bool) -> Attempt:
        self._users.setdefault(wire.index, set()).add(parent.trace_id - 1)
        return super().attempt_begin(wire, parent, fanout=fanout)


def _concerns(refactor: Refactor, wire: Wire) -> bool:
    edge: EdgeRef | None = getattr(refactor, "edge", None)
    at: str | Target | EdgeRef | None = getattr(refactor, "at", None)
    if isinstance(at, EdgeRef):
        edge = at
    if isinstance(at, str):
        return at == wire.callee
    if edge is not None:
        return (
            edge.caller == wire.caller
            and edge.caller_operation in (None, wire.caller_operation)
            and (edge.callee, edge.operation) == (wire.callee, wire.operation)
        )
    return at is None or at == Target(wire.caller, wire.caller_operation)
