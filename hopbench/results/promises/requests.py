"""Which requests are simulated for a promise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hopbench.runs.plan import RunPlan
from loadgen.schedule import MEASURED, Schedule, arrivals
from services.scenario.capacity import worst_calls
from services.scenario.chance import round_seed
from services.scenario.model import Load
from services.scenario.pace import Closed
from services.simulation.round import Arrival

_REQUESTS: Final = 120
_CALLS: Final = 2_400
"""So many calls of a sample at most: what is simulated for one answer is over in half a second."""
_ROUNDS: Final = 9
_CALLS_OF_ROUNDS: Final = 21_000
_CALLS_OF_ONE: Final = 40_000
"""The same of a sample of whole rounds, and of one of them alone."""
_PARTS: Final = 4
_LEAD: Final = 5
"""One more request for so many is simulated before them."""
_APART_NS: Final = 1_000_000_000
"""Requests of a closed load, whose times nobody knows beforehand."""

Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Part:
    """Requests that come one after another, and what their chance hangs on."""

    seed: int
    due: tuple[Arrival, ...]
    lead: int
    """So many at the beginning are not counted: they find nothing under way yet."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What is simulated: several parts, since one may be a busy one as a whole."""

    parts: tuple[Part, ...]
    measured_from_ns: int
    of: int
    """Requests that a round has of the measured phase."""
    rounds: bool = False
    """Whether each part is a whole round."""


def whole_rounds(plan: RunPlan, variant: str) -> Sample:
    """The variant's first round from its first request on, since a queue that grows is longer the
    later it is looked at, and rounds with other seeds: as many as are not too much, if any."""
    turn = next(turn for turn in plan.order if turn.variant == variant)
    load = plan.scenarios[variant].load
    first = arrivals(load, turn.seed)
    calls = len(first.number) * max(1, int(worst_calls(plan.scenarios[variant])))
    parts: list[Part] = []
    rounds = min(_ROUNDS, _CALLS_OF_ROUNDS // max(1, calls))
    for number in range(max(rounds, 1 if calls <= _CALLS_OF_ONE else 0)):
        seed = turn.seed if number == 0 else round_seed(turn.seed, number)
        schedule = first if number == 0 else arrivals(load, seed)
        rows = np.flatnonzero(schedule.phase == MEASURED)
        if len(rows):
            parts.append(_part(load, seed, schedule, rows, lead=int(rows[0])))
    of = int((first.phase == MEASURED).sum())
    return Sample(tuple(parts), load.warmup_ns, of, rounds=True)


def sample(plan: RunPlan, variant: str) -> Sample:
    """Stretches of the variant's first round; where it is short, all of it and of further rounds
    with seeds of their own, which no round of the run has."""
    turn = next(turn for turn in plan.order if turn.variant == variant)
    load = plan.scenarios[variant].load
    most = max(1, min(_REQUESTS, _CALLS // max(1, int(worst_calls(plan.scenarios[variant])))))
    length = -(-most // _PARTS)
    parts: list[Part] = []
    round_ = arrivals(load, turn.seed)
    measured = np.flatnonzero(round_.phase == MEASURED)
    if len(measured) >= most:
        starts = np.linspace(0, len(measured) - length, _PARTS).astype(int)
        parts += [
            _part(load, turn.seed, round_, measured[start : start + length])
            for start in np.unique(starts).tolist()
        ]
    else:
        for number in range(max(1, min(_PARTS, most // max(1, len(measured))))):
            seed = turn.seed if number == 0 else round_seed(turn.seed, number)
            schedule = round_ if number == 0 else arrivals(load, seed)
            rows = np.flatnonzero(schedule.phase == MEASURED)
            parts.append(_part(load, seed, schedule, rows))
    return Sample(tuple(parts), load.warmup_ns, len(measured))


def _part(
    load: Load, seed: int, schedule: Schedule, rows: Numbers, lead: int | None = None
) -> Part:
    """The requests at ``rows``, and ``lead`` (or some) that are due before."""
    if len(rows) == 0:
        return Part(seed, (), 0)
    if lead is None:
        lead = min(int(rows[0]), -(-len(rows) // _LEAD))
    rows = np.arange(rows[0] - lead, rows[-1] + 1)
    due = schedule.offset_ns[rows].tolist()
    if isinstance(load.pace, Closed):
        due = [load.warmup_ns + i * _APART_NS for i in range(len(rows))]
    of = zip(schedule.number[rows].tolist(), due, schedule.entry[rows].tolist(), strict=True)
    return Part(seed, tuple(asked(seq, at, entry) for seq, at, entry in of), lead)


def asked(seq: int, at_ns: int, entry: int) -> Arrival:
    """A request whose trace says its number; 0 would be none."""
    return Arrival(seq, at_ns, entry, False, seq + 1)
