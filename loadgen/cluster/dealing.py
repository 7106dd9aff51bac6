"""A round dealt to several workers: whose arrivals are whose, and what they told put together.

Pure. Master and workers speak over Locust's own connection, in custom messages; a message's data is
an object with ``round``, by which those of an earlier round are told apart:

| message | from | data beside ``round`` |
|---|---|---|
| ``hopbench.hello`` | worker | ``number`` or null, ``host``, ``pid``; no ``round`` |
| ``hopbench.plan`` | master | ``plan`` (hopbench.plan/1), ``streamed``: send the samples back |
| ``hopbench.opened`` | worker | every connection is open |
| ``hopbench.ready`` | worker | its Locust user waits for the start |
| ``hopbench.start`` | master | ``at_ns``, ``unix`` (:class:`Start`) |
| ``hopbench.progress`` | worker | ``sent``, ``ended``; twice a second, from ``opened`` on |
| ``hopbench.samples`` | worker | ``spool``: a file's name, ``data``: its next bytes |
| ``hopbench.stop`` | master | end the round early |
| ``hopbench.broken`` | worker | ``why`` |
| ``hopbench.finished`` | worker | ``counts`` (loadgen.generator.Counts) |
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic_ns
from typing import Any, Final

from loadgen.plan import Plan

HELLO: Final = "hopbench.hello"
PLAN: Final = "hopbench.plan"
OPENED: Final = "hopbench.opened"
READY: Final = "hopbench.ready"
START: Final = "hopbench.start"
PROGRESS: Final = "hopbench.progress"
SAMPLES: Final = "hopbench.samples"
STOP: Final = "hopbench.stop"
BROKEN: Final = "hopbench.broken"
FINISHED: Final = "hopbench.finished"
FROM_WORKERS: Final = (OPENED, READY, PROGRESS, SAMPLES, BROKEN, FINISHED)

TELL_S: Final = 0.5
"""So often a worker tells how far it is."""
SILENT_S: Final = 3.0
"""A worker that says nothing for so long is gone."""
MASTER_PORT: Final = 5557
"""Locust's own default."""

_SUMS: Final = ("scheduled", "sent", "ok", "error", "timeout", "dropped", "cpu_ns")
_LAGS: Final = ("lag_ns", "hub_lag_ns")


@dataclass(frozen=True, slots=True)
class Start:
    """The schedule's zero."""

    at_ns: int
    unix: bool
    """In Unix time, for workers on other hosts; else in this host's CLOCK_MONOTONIC."""

    @classmethod
    def read(cls, message: Mapping[str, Any]) -> Start | None:
        """Out of ``{"start_ns": …}`` or ``{"start_unix_ns": …}``; None where it is neither."""
        for key, unix in (("start_ns", False), ("start_unix_ns", True)):
            if key in message:
                return cls(int(message[key]), unix)
        return None

    def monotonic_ns(self) -> int:
        """In this process's CLOCK_MONOTONIC."""
        return self.at_ns - (time.time_ns() - monotonic_ns()) if self.unix else self.at_ns


def dealt(plan: Plan, workers: int) -> tuple[Plan, ...]:
    """The plan of each worker: its share of the arrivals, and a spool of its own."""
    return tuple(
        replace(plan, worker=number, workers=workers, samples=spool_of(plan, number))
        for number in range(workers)
    )


def spool_of(plan: Plan, worker: int) -> Path:
    """``samples-K.spool`` beside the plan's own."""
    samples = plan.samples
    return samples.with_name(f"{samples.stem}-{worker}{samples.suffix}")


def merged(counts: Sequence[Mapping[str, Any]], workers: int, broken: str | None) -> dict[str, Any]:
    """What ``workers`` counted, as one generator would tell it, with each one's own in ``workers``.

    Requests and CPU time are sums. A quantile of lag is that of the worst worker, hence an upper
    bound of the true one. ``counts`` is shorter than ``workers`` where some are gone.
    """
    found: dict[str, Any] = {name: sum(one[name] for one in counts) for name in _SUMS}
    found["complete"] = len(counts) == workers and all(one["complete"] for one in counts)
    found["broken"] = broken or next((one["broken"] for one in counts if one["broken"]), None)
    found["start_ns"] = max((one["start_ns"] for one in counts), default=0)
    found["elapsed_ns"] = max((one["elapsed_ns"] for one in counts), default=0)
    waits = [one["core_wait_ns"] for one in counts]
    found["core_wait_ns"] = None if None in waits else max(waits, default=None)
    for name in _LAGS:
        found[name] = _worst([one[name] for one in counts])
    found["busiest_cpu_ns"] = max((one["busiest_cpu_ns"] for one in counts), default=0)
    found["kafka"] = [report for one in counts for report in one["kafka"]]
    found["workers"] = [dict(one) for one in counts]
    return found


def _worst(spreads: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {"n": sum(spread["n"] for spread in spreads)}
    for name in ("p50", "p99", "max"):
        found[name] = max((s[name] for s in spreads if s[name] is not None), default=None)
    return found
