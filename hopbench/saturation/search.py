"""Step, then bisect: at which rate to look next, from what was seen so far."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

STEP: Final = 2.0
_LOWEST: Final = 1 / 64
"""Of the first rate: below that it holds none."""


class Outcome(StrEnum):
    HELD = "held"
    SATURATED = "saturated"
    GAVE_OUT = "gave_out"
    """The generator could not keep the rate, or its schedule: of the services nobody knows."""
    VOID = "void"
    """The round does not say."""


@dataclass(frozen=True, slots=True)
class Look:
    rate_rps: float
    outcome: Outcome


def next_rate(
    looks: Iterable[Look], first_rps: float, most_rps: float, within: float
) -> float | None:
    """The next rate; None where the answer is known within a share ``within``, or there is none up
    to ``most_rps``. A rate that holds is taken to hold below, and one that does not not to above;
    a void one as not to hold."""
    held, lost = bracket(looks)
    if lost is None:
        if held is None:
            return first_rps
        following = min(held * STEP, most_rps)
        return following if following > held else None
    if held is None:
        following = lost.rate_rps / STEP
        return following if following >= first_rps * _LOWEST else None
    if lost.rate_rps / held <= 1 + within:
        return None
    return math.sqrt(held * lost.rate_rps)


def bracket(looks: Iterable[Look]) -> tuple[float | None, Look | None]:
    """The highest rate that holds, and the lowest look that does not."""
    held: float | None = None
    lost: Look | None = None
    for look in looks:
        if look.outcome is Outcome.HELD:
            held = max(held or 0.0, look.rate_rps)
        elif lost is None or look.rate_rps < lost.rate_rps:
            lost = look
    if held is not None and lost is not None and held >= lost.rate_rps:
        # It held higher up: what was lost below was chance.
        lost = None
    return held, lost
