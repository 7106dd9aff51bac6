"""A round second by second, from its samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import polars as pl

from analysis.arrays import F64, I64
from analysis.arrays.quantiles import NS_PER_MS, rank
from analysis.findings.flows import Flow
from analysis.report.overtime import Second
from hopbench.results.flows import consumer_lag, last_message
from loadgen.samples import NOT_REACHED

_NANO = 1_000_000_000


def timeline(
    samples: pl.DataFrame,
    measured_from_ns: int,
    timeouts_ns: Mapping[str, int],
    flows: Sequence[Flow] = (),
) -> tuple[Second, ...]:
    """From the first request to the last answer, or the last message that was handled. A request
    that was never answered is in flight until its entry's timeout."""
    if not samples.height:
        return ()
    entry = samples["entry"].to_list()
    patience = np.array([timeouts_ns[name] for name in entry], dtype=np.int64)
    due, sent, done = (
        samples[name].fill_null(NOT_REACHED).to_numpy()
        for name in ("intended_ns", "sent_ns", "done_ns")
    )
    left, answered = sent != NOT_REACHED, done != NOT_REACHED
    ended = np.where(answered, done, sent + patience)

    def second(at: I64) -> I64:
        found: I64 = np.floor_divide(at - measured_from_ns, _NANO)
        return found

    first = int(second(due).min())
    last = int(max(second(due).max(), second(done[answered]).max(initial=first)))
    if (message := last_message(flows)) is not None:
        last = max(last, message)
    count = last - first + 1

    def per_second(at: I64) -> I64:
        inside = second(at)
        inside = inside[inside <= last]
        return np.bincount(inside - first, minlength=count)

    begun, over = per_second(sent[left]), per_second(ended[left])
    answers, dropped = per_second(done[answered]), per_second(due[~left])
    flying = np.cumsum(begun - over)
    lag = consumer_lag(flows, range(first, last + 1))
    times = _by_second(second(due[answered]) - first, done[answered] - due[answered], count)
    return tuple(
        Second(
            at_s=first + i,
            sent=int(begun[i]),
            answered=int(answers[i]),
            dropped=int(dropped[i]),
            in_flight=int(flying[i]),
            p50_ms=_rank(50, times[i]),
            p95_ms=_rank(95, times[i]),
            consumer_lag=lag[i],
        )
        for i in range(count)
    )


def _by_second(second: I64, took: I64, count: int) -> list[F64]:
    """Response times, rising, ms."""
    order = np.lexsort((took, second))
    bounds = np.searchsorted(second[order], np.arange(count + 1))
    rising = took[order] / NS_PER_MS
    return [rising[a:b] for a, b in pairwise(bounds)]


def _rank(percent: int, rising: F64) -> float | None:
    return float(rising[rank(percent, len(rising))]) if len(rising) else None
