"""What a generator says of its round, as plain figures."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import numpy as np

from services.report import SenderReport, Spread

N = TypeVar("N", int, float)
BEAT_NS: Final = 20_000_000
"""Each beat takes a tenth of a millisecond from the requests that are due beside it."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Of one process, or of several that shared a round's arrivals: then requests and CPU time are
    sums, and quantiles those of the worst, hence an upper bound of the true ones."""

    scheduled: int
    sent: int
    ok: int
    error: int
    timeout: int
    dropped: int
    complete: bool
    """Everything was sent and ended; False when the round was stopped or broke."""
    broken: str | None
    """Why the generator itself could not go on."""
    start_ns: int
    elapsed_ns: int
    """From the schedule's zero to the last end."""
    cpu_ns: int
    """Of all processes and their threads, in that time."""
    core_share: float | None
    """Of one core, which is all that a process can have: what the busiest process used of it, or
    all those together that must share one. None where nothing was sent."""
    core_wait_ns: int | None
    """How long the dispatcher's thread was ready to run and had no core; None where unknown."""
    lag_ns: Spread
    """Sent minus intended, warm-up included."""
    hub_lag_ns: Spread
    """How late a heartbeat ran, every BEAT_NS: how long something else kept the hub."""
    senders: tuple[SenderReport, ...] = ()
    """Of the processes that send to entries over Kafka."""

    @property
    def core_wait_share(self) -> float | None:
        if self.core_wait_ns is None or self.elapsed_ns <= 0:
            return None
        return self.core_wait_ns / self.elapsed_ns


def together(
    counts: Sequence[Counts],
    *,
    one_core: bool = False,
    missing: bool = False,
    broken: str | None = None,
) -> Counts:
    """All of them as one. ``one_core``: they could use no more than one between them. ``missing``:
    some have counted nothing, because they are gone; ``broken``: why the round ended, where that is
    known otherwise."""
    waits = [each.core_wait_ns for each in counts]
    shares = [each.core_share for each in counts if each.core_share is not None]
    return Counts(
        scheduled=sum(each.scheduled for each in counts),
        sent=sum(each.sent for each in counts),
        ok=sum(each.ok for each in counts),
        error=sum(each.error for each in counts),
        timeout=sum(each.timeout for each in counts),
        dropped=sum(each.dropped for each in counts),
        complete=not missing and all(each.complete for each in counts),
        broken=broken or next((each.broken for each in counts if each.broken), None),
        start_ns=max((each.start_ns for each in counts), default=0),
        elapsed_ns=max((each.elapsed_ns for each in counts), default=0),
        cpu_ns=sum(each.cpu_ns for each in counts),
        core_share=sum(shares) if one_core and shares else _most(shares),
        core_wait_ns=None if None in waits else _most(waits),
        lag_ns=_worst([each.lag_ns for each in counts]),
        hub_lag_ns=_worst([each.hub_lag_ns for each in counts]),
        senders=tuple(sender for each in counts for sender in each.senders),
    )


def core_wait_ns() -> int | None:
    """Of the main thread so far: the second field of proc's schedstat."""
    try:
        return int(Path("/proc/self/schedstat").read_text().split()[1])
    except OSError:
        return None


def spread(values: array[int]) -> Spread:
    if not values:
        return Spread()
    p50, p99, worst = np.quantile(np.array(values), (0.5, 0.99, 1.0), method="higher")
    return Spread(n=len(values), p50=int(p50), p99=int(p99), max=int(worst))


def _worst(spreads: Sequence[Spread]) -> Spread:
    return Spread(
        n=sum(each.n for each in spreads),
        p50=_most(each.p50 for each in spreads),
        p99=_most(each.p99 for each in spreads),
        max=_most(each.max for each in spreads),
    )


def _most(values: Iterable[N | None]) -> N | None:
    """Of those that are known."""
    return max((value for value in values if value is not None), default=None)
