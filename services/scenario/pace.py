"""When requests come in: the open and the closed model of load.

An open load sends when a request is due, whatever became of those before; a closed one has users
who wait for their answers, so that what is slow is asked less (Schroeder, Wierman and
Harchol-Balter, NSDI 2006).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Final, Literal

from services.scenario.chance import uniform
from services.scenario.distributions import Constant, Distribution

MOST_RPS: Final = 10_000.0
"""So many requests a second of a closed load are made ready beforehand, at most."""
MOST_RPS_A_USER: Final = 2_000.0
"""Of them a user takes one at a time: no answer comes sooner over a socket."""
_SPARE: Final = 1.25
_SIGMAS: Final = 6.0
_NANO: Final = 1e9
_GRID: Final = 1_000


@dataclass(frozen=True, slots=True)
class Stage:
    """The rate goes in a straight line to ``to_rps``, in ``over_ns``."""

    to_rps: float
    over_ns: int


@dataclass(frozen=True, slots=True)
class Open:
    """``rate_rps`` holds in the warm-up and, without a ramp, after it. The stages of a ramp follow
    one another from the start of the measured phase; the last one's rate then holds."""

    model: ClassVar[Literal["open"]] = "open"
    arrivals: Literal["poisson", "uniform"]
    rate_rps: float
    ramp: tuple[Stage, ...] = ()

    @property
    def steady_rps(self) -> float | None:
        """The rate, where it is one."""
        return None if self.ramp else self.rate_rps

    def knots(self, warmup_ns: int, duration_ns: int) -> tuple[tuple[int, float], ...]:
        """The rate as (ns from the schedule's zero, requests a second), straight lines between."""
        at, rate = warmup_ns, self.rate_rps
        found = [(0, rate), (at, rate)]
        for stage in self.ramp:
            at, rate = at + stage.over_ns, stage.to_rps
            found.append((at, rate))
        return (*found, (warmup_ns + duration_ns, rate))

    def requests(self, warmup_ns: int, duration_ns: int) -> float:
        """The mean number of arrivals."""
        lines = pairwise(self.knots(warmup_ns, duration_ns))
        return sum((b - a) / _NANO * (low + high) / 2 for (a, low), (b, high) in lines)

    def measured(self, warmup_ns: int, duration_ns: int) -> float:
        """The mean number in the measured phase."""
        return self.requests(warmup_ns, duration_ns) - self.rate_rps * warmup_ns / _NANO

    @property
    def peak_rps(self) -> float:
        return max((self.rate_rps, *(stage.to_rps for stage in self.ramp)))

    def __str__(self) -> str:
        return " → ".join(self._rates()) + f" {self.arrivals}"

    def _rates(self) -> Iterator[str]:
        yield f"{self.rate_rps:g}/s"
        for stage in self.ramp:
            yield f"{stage.to_rps:g}/s in {stage.over_ns / _NANO:g} s"


@dataclass(frozen=True, slots=True)
class Replay:
    """Recorded arrivals: ``at_ns`` rises, from the schedule's zero."""

    model: ClassVar[Literal["open"]] = "open"
    arrivals: ClassVar[Literal["replay"]] = "replay"
    at_ns: tuple[int, ...]

    def requests(self, warmup_ns: int, duration_ns: int) -> float:
        return float(bisect_left(self.at_ns, warmup_ns + duration_ns))

    def measured(self, warmup_ns: int, duration_ns: int) -> float:
        """Those of the measured phase."""
        return self.requests(warmup_ns, duration_ns) - bisect_left(self.at_ns, warmup_ns)

    @property
    def steady_rps(self) -> None:
        """There is none."""

    @property
    def peak_rps(self) -> float:
        """The mean, over a second at least: single gaps tell nothing of a rate."""
        return len(self.at_ns) * _NANO / max(_NANO, self.at_ns[-1])

    def __str__(self) -> str:
        return f"replay of {len(self.at_ns):,} arrival" + ("s" if len(self.at_ns) > 1 else "")


@dataclass(frozen=True, slots=True)
class Closed:
    """Each of ``users`` sends, waits for the answer, thinks for ``think`` (ns), and sends again."""

    model: ClassVar[Literal["closed"]] = "closed"
    arrivals: ClassVar[None] = None
    users: int
    think: Distribution

    def requests(self, warmup_ns: int, duration_ns: int) -> float:
        """As many as may be needed, made ready beforehand."""
        seconds = (warmup_ns + duration_ns) / _NANO
        most = min(MOST_RPS, MOST_RPS_A_USER * self.users) * seconds
        if not (think := self.think.mean() / _NANO):
            return most
        mean = self.users * seconds / think
        return min(most, _SPARE * mean + _SIGMAS * math.sqrt(mean) + self.users)

    def worker_of(self, number: int, workers: int) -> int:
        """Which worker has the request of that number: each has users, and their requests."""
        return number % self.users % workers

    def begins_ns(self, worker: int = 0, workers: int = 1) -> list[int]:
        """When the users of one worker begin: as if they had been at it for long.

        Each then has the rest of a thought before it, which is distributed as the residual life of
        a renewal process (Cox, Renewal Theory, 1962, section 5.3), here at even quantiles.
        """
        grid = [self.think.at((i + 0.5) / _GRID) for i in range(_GRID)]
        if not (whole := sum(grid)):
            return [0] * len(range(worker, self.users, workers))
        passed, shares = 0.0, [0.0]
        for i, thought in enumerate(grid):
            passed += thought
            shares.append((passed + thought * (_GRID - 1 - i)) / whole)
        rests = [0.0, *grid]

        def rest(share: float) -> int:
            at = min(bisect_left(shares, share), _GRID)
            below, above = shares[at - 1], shares[at]
            part = (share - below) / (above - below) if above > below else 1.0
            return round(rests[at - 1] + part * (rests[at] - rests[at - 1]))

        return [rest((user + 0.5) / self.users) for user in range(worker, self.users, workers)]

    def thinks_ns(self, key: int) -> int:
        """How long the user thinks after the answer to the request of that key."""
        if isinstance(self.think, Constant):
            return round(self.think.value)
        return round(self.think.at(uniform(key, "think")))

    @property
    def peak_rps(self) -> None:
        """How much comes in is the services' doing."""

    @property
    def steady_rps(self) -> None:
        """There is none."""

    def __str__(self) -> str:
        many = f"{self.users:,} user" + ("s" if self.users > 1 else "")
        if not (think := self.think.mean()):
            return many
        spread = "" if isinstance(self.think, Constant) else type(self.think).__name__.lower()
        return f"{many} thinking {_time(think)}" + (spread and f" ({spread})")


def _time(ns: float) -> str:
    unit, of = (_NANO, "s") if ns >= _NANO else (1e6, "ms") if ns >= 1e6 else (1e3, "µs")
    return f"{ns / unit:g} {of}"


Pace = Open | Replay | Closed
