"""What a reader should know before believing a figure of this round."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from typing import Final

from analysis.arrays.quantiles import NEEDED, PERCENTS
from hopbench.results.checks.observed import Observed, Untold
from hopbench.runs.limits import Limits
from services.doubts import Code, Doubt
from services.scenario.pace import Closed, Open, Pace, Replay

_DURATIONS_S: Final = (10, 15, 20, 30, 45, 60, 90, 120, 180, 300, 600)
"""Those to propose: a shorter round is doubted itself, and for a longer one nobody waits."""

_MORE: Final[Mapping[type[Pace], str]] = {
    Open: "a higher rate would",
    Replay: "a recording of more requests would",
    Closed: "more --users would",
}


def meaning(o: Observed, limits: Limits) -> Iterator[Doubt]:
    duration, warmup = o.load.duration_ns / 1e9, o.load.warmup_ns / 1e9
    if duration < limits.short_round_s:
        yield Doubt(Code.SHORT_ROUND, f"the measured phase is {duration:g} s long")
    if warmup < limits.short_warmup_s:
        yield Doubt(Code.SHORT_WARMUP, f"the warm-up is {warmup:g} s long")
    if o.broker == "embedded" and o.kafka_used:
        yield Doubt(
            Code.EMBEDDED_BROKER,
            "Kafka figures come from the embedded broker (librdkafka's mock), which is no Kafka",
        )
    if o.untold:
        told = ", ".join(f"{of.name} ({_help(of, duration, o.load.pace)})" for of in o.untold)
        yield Doubt(Code.NOT_IDENTIFIABLE, f"the requests of the round cannot tell {told}")


def _help(of: Untold, duration_s: float, pace: Pace) -> str:
    """What would tell it, or a lower quantile."""
    more = _MORE[type(pace)]
    if pace.model == "open" and pace.steady_rps is None and of.among.n < NEEDED[of.percent]:
        return more
    endless = of.among.n >= NEEDED[of.percent]
    longer = None if endless else _duration_s(of.percent, of.among.n / duration_s)
    if longer is not None:
        return f"--duration {longer}s would"
    why = "too many were never answered" if endless else "too few for any duration"
    for lower in (p for p in reversed(PERCENTS) if p < of.percent):
        if getattr(of.among, f"p{lower}") is not None:
            return f"{why}: read P{lower}"
        if not endless and (longer := _duration_s(lower, of.among.n / duration_s)) is not None:
            return f"{why}: read P{lower}, which --duration {longer}s would tell"
    return f"{why}: {'load it less' if endless else more}"


def _duration_s(percent: int, per_second: float) -> int | None:
    """How long a round should be to identify it nearly always; None where nobody would wait.

    Arrivals vary: the number expected lies two standard deviations above the number needed.
    """
    expected = (1 + math.sqrt(1 + NEEDED[percent])) ** 2
    place = bisect_left(_DURATIONS_S, expected / per_second) if per_second else len(_DURATIONS_S)
    return _DURATIONS_S[place] if place < len(_DURATIONS_S) else None
