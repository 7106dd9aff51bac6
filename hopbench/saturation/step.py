"""What one round at one rate shows: whether it was held, and what gave out where not.

A rate is held where what is answered keeps up with what arrives (docs/measurement.md, "Where a
design saturates"), requests do not pile up, and the objective is met.
"""

from __future__ import annotations

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

    @property
    def saturated(self) -> bool:
        return self.outcome is Outcome.SATURATED


def step(
    account: Account, samples: pl.DataFrame, run_dir: str, rate_rps: float, missed: str | None
) -> Step:
    """``missed``: the objective, where the round misses it."""
    arrived, answered, seconds = _counts(samples)
    share = answered / arrived if arrived else 0.0
    outcome, why = _judged(account, samples, share, missed)
    return Step(
        offered_rps=rate_rps,
        achieved_rps=answered / seconds if seconds else None,
        response_p95_ms=account.latency_ms.response.p95,
        outcome=outcome,
        why=why,
        run_dir=run_dir,
    )


def _judged(
    account: Account, samples: pl.DataFrame, share: float, missed: str | None
) -> tuple[Outcome, str]:
    voids = [raised for raised in account.doubts if raised.voids]
    codes = {raised.code for raised in voids}
    if codes - GENERATOR:
        return Outcome.VOID, "; ".join(each.text for each in voids if each.code not in GENERATOR)
    if share < KEPT:
        return Outcome.SATURATED, f"{share:.0%} of what arrived was answered"
    if (grown := _grown(samples)) is not None:
        return Outcome.SATURATED, f"requests pile up: P50 grew {grown:.1f} times"
    if missed is not None:
        return Outcome.SATURATED, f"misses the objective: {missed}"
    if voids:
        return Outcome.GAVE_OUT, "; ".join(each.text for each in voids)
    return Outcome.HELD, ""


def _counts(samples: pl.DataFrame) -> tuple[int, int, float]:
    """Arrivals of the measured phase, what was answered within it, and its length in s."""
    due = samples.filter(pl.col("phase") == "measured")
    if due.height < 2:
        return due.height, 0, 0.0
    first, last = due["intended_ns"].min(), due["intended_ns"].max()
    assert isinstance(first, int)
    assert isinstance(last, int)
    done = (pl.col("status") == "ok") & pl.col("done_ns").is_between(first, last)
    return due.height, samples.filter(done).height, (last - first) / 1e9


def _grown(samples: pl.DataFrame) -> float | None:
    """How many times the P50 grew, where it did all the way."""
    due = samples.filter((pl.col("phase") == "measured") & pl.col("done_ns").is_not_null())
    took = (due["done_ns"] - due["intended_ns"]).cast(pl.Float64).to_numpy()
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
