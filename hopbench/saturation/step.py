"""What one round at one rate shows: whether it was held, and what gave out where not.

A rate is held where what is answered keeps up with what arrives (docs/measurement.md, "Where a
design saturates"), requests do not pile up, and the objective is met.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from hopbench.results.round import Account
from hopbench.runs.limits import SIGMAS
from hopbench.saturation.search import Outcome
from hopbench.statistics import Floats
from hopbench.statistics.rank_sum import apart
from services.doubts import Code

SURE: Final = 0.1
"""A larger share that is not answered is no chance."""
KEPT: Final = 0.98
"""Of what arrives in the measured phase, the share that is answered in it."""
GROWN: Final = 1.2
"""The P50 of the last third of the measured phase by that of the first, above which requests pile
up, where the middle lies between and chance does not explain it."""
_THIRDS: Final = 3
GENERATOR: Final = frozenset({Code.LAG, Code.GENERATOR_CPU, Code.RATE})
"""What the generator has to answer for."""


@dataclass(frozen=True, slots=True)
class Step:
    offered_rps: float
    achieved_rps: float | None
    """Answered within the measured phase, by its length; None where nothing was recorded."""
    response_p95_ms: float | None
    outcome: Outcome
    why: str
    run_dir: str
    sure: bool
    """Whether another round at this rate would say the same."""


def step(
    account: Account,
    samples: pl.DataFrame,
    window: tuple[int, int] | None,
    *,
    run_dir: str,
    rate_rps: float,
    missed: str | None = None,
    untold: str | None = None,
) -> Step:
    """``window``: the measured phase, as the samples have times; None of a round that did not end.
    ``missed``: the objective, where the round misses it, ``untold`` where it cannot tell."""
    seen = _Seen(account, samples, window)
    outcome, why, sure = _judged(seen, missed, untold)
    return Step(
        offered_rps=rate_rps,
        achieved_rps=seen.answered_rps,
        response_p95_ms=account.latency_ms.response.p95,
        outcome=outcome,
        why=why,
        run_dir=run_dir,
        sure=sure,
    )


@dataclass(frozen=True)
class _Seen:
    account: Account
    samples: pl.DataFrame
    window: tuple[int, int] | None

    def within(self, column: str) -> int:
        """Requests of any phase that came so far within the measured one; of ends, those that were
        answered."""
        if self.window is None:
            return 0
        first, last = self.window
        inside = (pl.col(column) >= first) & (pl.col(column) < last)
        if column == "done_ns":
            inside &= pl.col("status") == "ok"
        return self.samples.filter(inside).height

    @property
    def answered_rps(self) -> float | None:
        if self.window is None:
            return None
        return self.within("done_ns") / ((self.window[1] - self.window[0]) / 1e9)

    def lost(self, since: str) -> tuple[float, bool]:
        """The share of what came in that was not answered meanwhile, 0 where that is what is always
        under way, or chance; and whether it is far from that. ``since`` is a column: the time from
        which a request is the services' affair."""
        came = self.within(since)
        if not came or self.window is None:
            return 0.0, True
        short = came - self.within("done_ns")
        done = self.samples.filter(pl.col("status") == "ok")
        took = (done["done_ns"] - done[since]).median()
        seconds = (self.window[1] - self.window[0]) / 1e9
        # Little's law; as many as that are under way at a time, and scatter as Poisson's do.
        under_way = came / seconds * (float(took) / 1e9 if isinstance(took, int | float) else 0.0)
        chance = under_way + SIGMAS * math.sqrt(2 * under_way) + 1
        share = short / came
        if share <= 1 - KEPT or short <= min(chance, SURE * came):
            return 0.0, True
        return share, share > SURE


def _judged(seen: _Seen, missed: str | None, untold: str | None) -> tuple[Outcome, str, bool]:
    voids = [raised for raised in seen.account.doubts if raised.voids]
    others = [each.text for each in voids if each.code not in GENERATOR]
    if others or seen.window is None:
        return Outcome.VOID, "; ".join(others) or "the round did not end", False
    # Where requests left late, that is no fault of the services.
    since = "sent_ns" if voids else "intended_ns"
    share, sure = seen.lost(since)
    if share:
        return Outcome.SATURATED, f"{1 - share:.0%} of what arrived was answered", sure
    if (grown := _grown(seen.samples, since)) is not None:
        return Outcome.SATURATED, f"requests pile up: P50 grew {grown:.1f} times", False
    if voids:
        return Outcome.GAVE_OUT, "; ".join(each.text for each in voids), False
    if missed is not None:
        return Outcome.SATURATED, f"misses the objective: {missed}", False
    if untold is not None:
        return Outcome.VOID, f"cannot tell the objective: {untold}", False
    return Outcome.HELD, "", True


def _grown(samples: pl.DataFrame, since: str) -> float | None:
    """How many times the P50 grew, where it did all the way."""
    due = samples.filter((pl.col("phase") == "measured") & pl.col("done_ns").is_not_null())
    took = (due["done_ns"] - due[since]).cast(pl.Float64).to_numpy()
    in_order = took[np.argsort(due["intended_ns"].to_numpy(), kind="stable")]
    parts: list[Floats] = np.array_split(in_order, _THIRDS)
    if min(map(len, parts)) < _THIRDS:
        return None
    early, middle, late = (float(np.median(part)) for part in parts)
    grows = early < middle < late and late > GROWN * early
    return late / early if grows and apart(parts[0], parts[-1]) > SIGMAS else None


@dataclass(frozen=True, slots=True)
class Predicted:
    rps: float
    bottleneck: str
    """What the utilisation law says gives out first."""


def predicted(
    cpu_us: Iterable[tuple[str, float]], generator_us: float, cores: int
) -> Predicted | None:
    """By the utilisation law (Denning & Buzen, The operational analysis of queueing network models,
    ACM Computing Surveys 10, 1978): a resource of which a request demands D s holds 1/D of them.

    ``cpu_us``: of each process, CPU time per request; a process has one interpreter, so one core.
    ``generator_us``: of the generator, which shares the ``cores``. None where nothing was demanded.
    """
    each = dict(cpu_us)
    whole_us = sum(each.values()) + generator_us
    if not each or whole_us <= 0:
        return None
    bounds = {f"the process of {name}": us for name, us in each.items()}
    bounds[f"{cores} cores, the generator's share among them"] = whole_us / cores
    name = max(bounds, key=lambda key: bounds[key])
    return Predicted(1e6 / bounds[name], name)
