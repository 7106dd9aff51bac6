"""What an engine does for the bench: execute one round of one variant and leave its evidence.

Everything an engine learns goes to the trial directory (spools, logs) and into the returned
:class:`Evidence`; judging it is the bench's work.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from services.scenario.model import Scenario

EngineName = Literal["local", "compose", "kubernetes", "virtual"]
Instrumentation = Literal["lean", "official"]
BrokerKind = Literal["embedded", "kafka", "memory"]


@dataclass(frozen=True, slots=True)
class Settings:
    """The flags that shape every round of a run, after the scenario's own values were applied."""

    engine: EngineName
    broker: str
    """``embedded`` or ``HOST:PORT``."""
    tracing: bool
    trace_ratio: float
    instrumentation: Instrumentation
    web_port: int | None
    """Locust's own web UI; None for none."""
    workers: int = 1
    """Locust worker processes; worker k of N takes the arrivals i with i mod N = k."""
    jaeger: str | None = None
    """URL of Jaeger's query API, which spans are read back from; None: the embedded collector."""
    jaeger_otlp: str | None = None
    """``HOST:PORT`` for OTLP over gRPC; None: port 4317 of that host."""
    jaeger_ui: str | None = None
    """URL under which people reach Jaeger's pages, for links in reports; None: ``jaeger``."""


@dataclass(frozen=True, slots=True)
class RoundPlan:
    """One round: what runs, with which chance."""

    base: Scenario
    scenario: Scenario
    """The base with the variant's refactors applied."""
    source: str
    """The resolved base as YAML; with ``variant`` it gives ``scenario`` in any process."""
    variant: str
    round: int
    """From 0, over the whole run."""
    seed: int
    """The round seed (services.scenario.chance.round_seed): equal for rounds of one pair."""
    trace_salt: int
    """Makes trace ids of rounds with one seed differ."""


@dataclass(frozen=True, slots=True)
class ProcessReport:
    """What one service process, or a generator of messages, counted by the end of its round."""

    service: str
    replica: int
    pid: int
    cpu_ns: int
    handled: int
    open_handlers: int
    spans_ended: int
    """Spans of sampled requests that ended: what the collector must have received."""
    produced: Mapping[str, int]
    """Kafka messages acknowledged, by topic."""
    consumed: Mapping[str, int]
    sleep_bias_ns: Mapping[str, float]
    """``p50``, ``p99``, ``n``: how much longer simulated waits took than asked."""
    cpu_bias_ns: Mapping[str, float]
    loop_lag_ns: Mapping[str, float]
    """``p50``, ``p99``, ``max`` of a 5 ms heartbeat."""
    gc_pauses: Mapping[str, float]
    """``count``, ``total_ns``, ``max_ns``."""
    retries: int
    timeouts: int
    errors: int
    """Attempts that ended so, seen by this process as a caller."""
    faults_fired: int
    doubts: tuple[tuple[str, str], ...] = ()
    """Pairs of code and text, raised in the process itself (``broker_cannot``…)."""
    redelivered: Mapping[str, int] = field(default_factory=dict)
    """Kafka messages that came a second time, by topic; not handled again, nor in ``consumed``."""
    unacknowledged: Mapping[str, int] = field(default_factory=dict)
    """Those of ``produced`` that asked for no acknowledgement, and may be lost with a broker."""
    broker_gaps_unix_ns: Sequence[Sequence[int | None]] = ()
    """Pairs of from and to (None: still) in which it could not reach the broker."""


def outside(service: str, replica: int, pid: int = 0, **messages: Any) -> ProcessReport:
    """The report of a process that is no service: the generator, of its messages over Kafka.

    ``messages``: fields of a ProcessReport.
    """
    told = {"produced": {}, "consumed": {}, **messages}
    told["doubts"] = tuple((code, text) for code, text in told.get("doubts", ()))
    return ProcessReport(
        service=service,
        replica=replica,
        pid=pid,
        cpu_ns=0,
        handled=0,
        open_handlers=0,
        spans_ended=0,
        sleep_bias_ns={},
        cpu_bias_ns={},
        loop_lag_ns={},
        gc_pauses={},
        retries=0,
        timeouts=0,
        errors=0,
        faults_fired=0,
        **told,
    )


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one round left behind. Files are in the trial directory:

    ``samples.spool`` (loadgen/samples.py), ``traces.otlp`` and ``metrics.otlp`` (OTLP export
    requests, each behind a 4-byte big-endian length, as the collector received them),
    ``logs/<service>-<replica>.log``, ``logs/locust.log``, ``logs/broker.log``….
    """

    plan: RoundPlan
    directory: Path
    start_ns: int
    """CLOCK_MONOTONIC of the schedule's zero (warm-up starts here)."""
    unix_offset_ns: int
    """Add to a monotonic time of this host to get Unix time."""
    measured_from_ns: int
    measured_to_ns: int
    processes: tuple[ProcessReport, ...]
    service_pids: Mapping[str, tuple[int, ...]]
    locust_pids: tuple[int, ...]
    generator_cpu_ns: int
    elapsed_ns: int
    """From the schedule's zero to the end of the drain."""
    spans_received: int
    undrained: str | None
    """Why the drain did not end within its bound; None where it did."""
    broken: str | None
    """What died or did not come up, with the tail of its log; None for a whole round."""
    host: Mapping[str, float] = field(default_factory=dict)
    """``steal_share``, ``foreign_cpu_share`` over the round, ``generator_cpu_share``."""
    doubts: tuple[tuple[str, str], ...] = ()


Progress = Callable[[str, float], None]
"""Phase (``start``, ``warmup``, ``measured``, ``drain``, ``read``) and share done, 0..1."""


class Engine(Protocol):
    name: EngineName
    clock: Literal["wall", "virtual"]
    broker_kind: BrokerKind | None
    """None until :meth:`open`, and where no edge needs a broker."""
    broker_address: str | None
    """``HOST:PORT`` where clients of Kafka find it; None where there is none."""

    async def open(self, scenarios: tuple[Scenario, ...], directory: Path) -> None:
        """Start what stays for the whole run (a broker where any of the variants needs one).

        Raises services.errors.CannotStart.
        """
        ...

    async def round(self, plan: RoundPlan, directory: Path, progress: Progress) -> Evidence:
        """Execute one round. ``directory`` exists and is empty.

        A part that dies makes ``Evidence.broken``; a part that does not come up raises
        CannotStart. On cancellation everything started for the round is stopped, and what was
        measured stays in the directory.
        """
        ...

    async def close(self) -> None: ...
