"""What a generator says of its round, as plain figures."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Spread:
    """Quantiles in ns; None where there is no value at all."""

    n: int
    p50: int | None
    p99: int | None
    max: int | None


@dataclass(frozen=True, slots=True)
class Counts:
    """What the generator says of its round when it has finished."""

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
    """Of its processes (two, where some entries go over Kafka), all threads, in that time."""
    busiest_cpu_ns: int
    """Of that one of them that used most: one core is all that it can have."""
    core_wait_ns: int | None
    """How long the dispatcher's thread was ready to run and had no core; None where unknown."""
    lag_ns: Spread
    """Sent minus intended, warm-up included."""
    hub_lag_ns: Spread
    """How late a 5 ms heartbeat ran: how long something else kept the hub."""
    kafka: tuple[Mapping[str, Any], ...] = ()
    """What was sent and received over Kafka, of each process that did: the fields about messages of
    a ProcessReport (hopbench/engines/port.py)."""


def beside(ours: Counts, theirs: Mapping[str, Any]) -> Counts:
    """Two processes of one worker as one: requests and CPU time are sums, quantiles those of the
    worse, hence an upper bound of the true ones. ``theirs`` is Counts as a mapping."""
    waits = (ours.core_wait_ns, theirs["core_wait_ns"])
    return replace(
        ours,
        scheduled=ours.scheduled + theirs["scheduled"],
        sent=ours.sent + theirs["sent"],
        ok=ours.ok + theirs["ok"],
        error=ours.error + theirs["error"],
        timeout=ours.timeout + theirs["timeout"],
        dropped=ours.dropped + theirs["dropped"],
        complete=ours.complete and theirs["complete"],
        elapsed_ns=max(ours.elapsed_ns, theirs["elapsed_ns"]),
        cpu_ns=ours.cpu_ns + theirs["cpu_ns"],
        busiest_cpu_ns=max(ours.busiest_cpu_ns, theirs["busiest_cpu_ns"]),
        core_wait_ns=None if None in waits else max(waits),
        lag_ns=_worse(ours.lag_ns, theirs["lag_ns"]),
        hub_lag_ns=_worse(ours.hub_lag_ns, theirs["hub_lag_ns"]),
        kafka=(*ours.kafka, *theirs["kafka"]),
    )


def core_wait_ns() -> int | None:
    """Of the main thread so far: the second field of proc's schedstat."""
    try:
        return int(Path("/proc/self/schedstat").read_text().split()[1])
    except OSError:
        return None


def spread(values: array[int]) -> Spread:
    if not values:
        return Spread(n=0, p50=None, p99=None, max=None)
    p50, p99, worst = np.quantile(np.array(values), (0.5, 0.99, 1.0), method="higher")
    return Spread(n=len(values), p50=int(p50), p99=int(p99), max=int(worst))


def _worse(ours: Spread, theirs: Mapping[str, Any]) -> Spread:
    def worse(one: int | None, other: int | None) -> int | None:
        return max((x for x in (one, other) if x is not None), default=None)

    return Spread(
        n=ours.n + theirs["n"],
        p50=worse(ours.p50, theirs["p50"]),
        p99=worse(ours.p99, theirs["p99"]),
        max=worse(ours.max, theirs["max"]),
    )
