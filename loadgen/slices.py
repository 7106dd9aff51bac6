"""Turns of one arm in a sitting that several arms share: stretches of its schedule, apart in time.

An arm's schedule is made as if it ran alone, and cut into slices of one length; each slice has its
place in the sitting. So the same seed gives every arm the same requests in its n-th slice, and what
was recorded is put back onto the arm's own time, where nothing else need know of slices.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from loadgen.schedule import MEASURED, WARMUP, Schedule

Times = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Slices:
    length_ns: int
    """Of each, by the arm's own time; the schedule is a whole number of them long."""
    starts_ns: tuple[int, ...]
    """Where each begins in the sitting, from its zero; rising."""
    left_out_ns: int
    """At the beginning of each: what is due there counts as warm-up."""
    room_ns: int
    """From the beginning of each to that of the next arm's."""

    @property
    def ends_ns(self) -> int:
        """The end of the last one, by the sitting's time."""
        return self.starts_ns[-1] + self.length_ns

    def sitting(self, own_ns: Times) -> Times:
        """Own time, from the schedule's zero, to the sitting's."""
        number = np.minimum(own_ns // self.length_ns, len(self.starts_ns) - 1)
        shifted: Times = own_ns + self._moved()[number]
        return shifted

    def own(self, due_ns: Times, at_ns: Times) -> Times:
        """``at_ns``, by the sitting's time, to own time: of requests that are due at ``due_ns``, by
        the sitting's, which belong to the slice that had begun then, however late they end."""
        number = np.searchsorted(self.starts_ns, due_ns, side="right") - 1
        back: Times = at_ns - self._moved()[np.maximum(number, 0)]
        return back

    def late(self, due_ns: Times, ended_ns: Times) -> NDArray[np.bool_]:
        """Of requests by own time: which were still under way when the next slice began."""
        begun = due_ns // self.length_ns * self.length_ns
        return ended_ns - begun > self.room_ns

    def _moved(self) -> Times:
        own = np.arange(len(self.starts_ns), dtype=np.int64) * self.length_ns
        return np.array(self.starts_ns, np.int64) - own


def laid_out(
    seed: int, arms: int, slices: int, *, length_ns: int, gap_ns: int, left_out_ns: int
) -> tuple[Slices, ...]:
    """Of each arm: ``slices`` of them, in turns whose order is drawn anew each time. Between two
    slices nobody sends for ``gap_ns``."""
    chance, room_ns = random.Random(f"slices:{seed}"), length_ns + gap_ns
    starts: list[list[int]] = [[] for _ in range(arms)]
    for turn in range(slices):
        for place, arm in enumerate(chance.sample(range(arms), arms)):
            starts[arm].append((turn * arms + place) * room_ns)
    return tuple(Slices(length_ns, tuple(each), left_out_ns, room_ns) for each in starts)


def sliced(schedule: Schedule, slices: Slices | None) -> Schedule:
    """As the arm has it by its own time: without the beginnings of slices."""
    if slices is None:
        return schedule
    beginning = schedule.offset_ns % slices.length_ns < slices.left_out_ns
    phase = np.where((schedule.phase == MEASURED) & beginning, WARMUP, schedule.phase)
    return replace(schedule, phase=phase.astype(np.uint8))


def placed(schedule: Schedule, slices: Slices | None) -> Schedule:
    """The same, as it is sent."""
    if slices is None:
        return schedule
    return replace(sliced(schedule, slices), offset_ns=slices.sitting(schedule.offset_ns))
