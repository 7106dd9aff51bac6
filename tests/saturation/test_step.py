"""What one round at one rate says: held, lost, or nobody knows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest

from analysis.arrays.quantiles import Quantiles
from hopbench.results.latency import Latency, LoadRow
from hopbench.results.round import Account, Raised, Requests, Spans
from hopbench.saturation.search import Outcome
from hopbench.saturation.step import Step, step
from services.doubts import Code

S = 1_000_000_000
MS = 1_000_000
NOTHING = Quantiles(0, None, None, None, None, None)
LATENCY = Latency(NOTHING, NOTHING, NOTHING, NOTHING, NOTHING)
LOAD = LoadRow("open", "poisson", 100, 100, 100, 800, 800, 0, 0, NOTHING)
ACCOUNT = Account(
    *("baseline", 1, 1, True, 0, False, (), {}, (), None, None, LOAD, LATENCY),
    *(Spans(None, 0, None, None), Requests(0, 0)),
    *((), (), (), (), (), ()),
)


def raised(*codes: Code) -> Account:
    return replace(ACCOUNT, doubts=tuple(Raised(code, code.value, code.voids) for code in codes))


def samples(
    *, took_ms: Any = 10.0, late_ms: Any = 0.0, rate: float = 100.0, warmup_s: float = 2.0
) -> pl.DataFrame:
    """Requests of ten seconds; ``took_ms`` and ``late_ms`` may be functions of when one is due."""
    due = np.arange(0, 10, 1 / rate)
    late = np.array([late_ms(at) if callable(late_ms) else late_ms for at in due])
    took = np.array([took_ms(at) if callable(took_ms) else took_ms for at in due])
    intended = (due * S).astype(np.int64)
    sent = intended + (late * MS).astype(np.int64)
    return pl.DataFrame(
        {
            "intended_ns": intended,
            "sent_ns": sent,
            "done_ns": sent + (took * MS).astype(np.int64),
            "status": ["ok"] * len(due),
            "phase": ["warmup" if at < warmup_s else "measured" for at in due],
        }
    )


def looked(
    of: pl.DataFrame, account: Account = ACCOUNT, *, from_s: float = 2.0, **more: Any
) -> Step:
    window = (int(from_s * S), 10 * S)
    return step(account, of, window, run_dir="", rate_rps=100.0, **more)


def test_what_keeps_up_is_held() -> None:
    found = looked(samples())
    assert (found.outcome, found.sure) == (Outcome.HELD, True)
    assert found.achieved_rps == pytest.approx(100, rel=0.01)


def test_slow_answers_are_under_way_and_not_lost() -> None:
    """Also where no warm-up has filled the services before."""
    assert looked(samples(took_ms=200.0)).outcome is Outcome.HELD
    assert looked(samples(took_ms=200.0, warmup_s=0.0), from_s=0.0).outcome is Outcome.HELD
    assert looked(samples(rate=5.0)).outcome is Outcome.HELD


def test_what_is_not_answered_is_lost() -> None:
    found = looked(samples(took_ms=lambda at: 500.0 * at))
    assert found.outcome is Outcome.SATURATED
    assert found.why.endswith("of what arrived was answered")
    assert found.sure


def test_times_that_grow_all_the_way_are_a_backlog_and_are_looked_at_again() -> None:
    found = looked(samples(took_ms=lambda at: 10.0 + 5.0 * at))
    assert found.outcome is Outcome.SATURATED
    assert found.why.startswith("requests pile up: P50 grew ")
    assert not found.sure


def test_a_generator_that_sends_late_gives_out_and_the_services_do_not() -> None:
    late = samples(late_ms=lambda at: 400.0 * at)
    found = looked(late, raised(Code.LAG))
    assert (found.outcome, found.why) == (Outcome.GAVE_OUT, "lag")


def test_services_that_give_out_beside_a_late_generator_do() -> None:
    found = looked(samples(took_ms=lambda at: 500.0 * at), raised(Code.LAG))
    assert found.outcome is Outcome.SATURATED


def test_a_round_that_was_disturbed_does_not_say() -> None:
    assert looked(samples(), raised(Code.STEAL)).outcome is Outcome.VOID
    assert step(ACCOUNT, samples(), None, run_dir="", rate_rps=1.0).outcome is Outcome.VOID


def test_an_objective_is_missed_met_or_not_known() -> None:
    assert looked(samples(), missed="response_p95_ms < 5 (10.0)").outcome is Outcome.SATURATED
    found = looked(samples(), untold="response_p99_ms < 5")
    assert (found.outcome, found.sure) == (Outcome.VOID, False)
