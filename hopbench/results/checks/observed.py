"""What one round showed, for its checks."""

from __future__ import annotations

from dataclasses import dataclass

from analysis.arrays import I64, Bool
from analysis.arrays.quantiles import Quantiles
from hopbench.engines.port import BrokerKind, ClockName, Evidence, Settings
from loadgen.schedule import Schedule
from services.scenario.model import Load


@dataclass(frozen=True, slots=True)
class Sent:
    """The samples of one round as columns (loadgen/samples.py), in order of ``seq``; all phases.

    Times are monotonic ns; NOT_REACHED where a request never came so far.
    """

    seq: I64
    intended_ns: I64
    sent_ns: I64
    done_ns: I64
    measured: Bool
    dropped: Bool
    sampled: Bool
    worker: I64
    """Which generator process sent it, from 0."""


@dataclass(frozen=True, slots=True)
class Untold:
    """A headline figure that the sample cannot identify."""

    name: str
    percent: int
    """The quantile that it takes."""
    among: Quantiles


@dataclass(frozen=True, slots=True)
class Observed:
    """What one round showed. ``None`` is not known, never nothing."""

    clock: ClockName
    broker: BrokerKind | None
    settings: Settings
    load: Load
    evidence: Evidence | None
    scheduled: Schedule
    sent: Sent
    lag_p99_ms: float | None
    service_p50_ms: float | None
    offered_rps: float | None
    achieved_rps: float | None
    failed: int
    failures_planned: bool
    """Faults or ``fail`` steps of the scenario may make requests fail."""
    spans_expected: int | None
    spans_received: int | None
    spans_by_scenario: int | None
    replay_refused: str | None
    """Why ``spans_by_scenario`` is None."""
    answered: tuple[int, int]
    """Requests that an entry surely handled, and those that it may have (all phases): a request
    that timed out, or whose connection broke, may have been counted or not."""
    counted: int | None
    """Requests that the entries' metrics counted."""
    requests_sampled: int
    requests_complete: int
    kafka_used: bool
    untold: tuple[Untold, ...]
    changes: tuple[str, ...] = ()
    """In the environment, since the run's first round."""
    overloads: tuple[str, ...] = ()
    """Where the scenario asks for more than there is, as its static checks say it."""
    strained: tuple[str, ...] = ()
    """Where it asks for nearly all that there is, likewise."""
    paused: frozenset[str] = frozenset()
    """Services that a fault of the scenario makes stand still."""
