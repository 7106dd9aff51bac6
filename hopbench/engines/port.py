"""What an engine does for the bench: execute one round of one variant and leave its evidence.

Everything an engine learns goes to the trial directory (spools, logs) and into the returned
:class:`Evidence`; judging it is the bench's work.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal, Protocol

from hopbench.host.load import Taker
from loadgen.slices import Slices
from services.doubts import Doubt
from services.report import Messages, ProcessReport, SenderReport
from services.scenario.model import Scenario
from services.system.endpoints import Endpoint, endpoint

ClockName = Literal["wall", "virtual"]
Instrumentation = Literal["lean", "official"]
BrokerKind = Literal["embedded", "kafka", "memory"]
EMBEDDED: Final = "embedded"


@dataclass(frozen=True, slots=True)
class Settings:
    """The flags that shape every round of a run, after the scenario's own values were applied."""

    engine: str
    """A name in hopbench.engines.ENGINES."""
    broker: str
    """:data:`EMBEDDED`, or the ``HOST:PORT`` of a Kafka."""
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

    @property
    def kafka(self) -> Endpoint | None:
        """None: the embedded broker."""
        return None if self.broker == EMBEDDED else endpoint(self.broker)


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
    """From 1, over the whole run."""
    seed: int
    """The round seed (services.scenario.chance.round_seed): equal for rounds of one pair."""
    trace_salt: int
    """Makes trace ids of rounds with one seed differ."""
    traced: bool = True
    """Whether it has the tracing of the run, or none at all."""
    slices: Slices | None = None
    """Of a round that shares its sitting with other arms' (:meth:`Engine.sitting`)."""

    def settings(self, of_run: Settings) -> Settings:
        """The run's, as this round has them."""
        return replace(of_run, tracing=of_run.tracing and self.traced)


@dataclass(frozen=True, slots=True)
class Host:
    """What the round's host showed; None is not known. Shares are 0..1."""

    start_s: float | None = None
    """From the first part to the last one ready."""
    memory_mb: float | None = None
    """Of all processes of the round when its load had ended, MB of 10^6 bytes."""
    steal_share: float | None = None
    """Of the CPU time of all cores over the round, as the next two."""
    foreign_cpu_share: float | None = None
    foreign: tuple[Taker, ...] = ()
    """Whose that was, the largest first."""
    services_cpu_share: float | None = None
    generator_cpu_share: float | None = None
    """Of one core: that of the generator's busiest process."""
    generator_wait_share: float | None = None
    """Of the time, in which the busiest generator was ready to run and had no core."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one round left behind, beside its files in the trial directory:

    ``samples*.spool`` (loadgen/samples.py), ``traces.otlp`` and ``metrics.otlp`` (OTLP export
    requests, each behind a 4-byte big-endian length, as the collector received them), or
    ``traces.jaeger`` (answers of its query API), ``logs/<service>-<replica>.log``,
    ``logs/locust.log``, ``logs/broker.log``….
    """

    start_ns: int
    """CLOCK_MONOTONIC of the schedule's zero (warm-up starts here)."""
    unix_offset_ns: int
    """Add to a monotonic time of this host to get Unix time."""
    measured_from_ns: int
    measured_to_ns: int
    processes: tuple[ProcessReport, ...]
    service_pids: Mapping[str, tuple[int, ...]]
    locust_pids: tuple[int, ...]
    elapsed_ns: int
    """From the schedule's zero to the end of the drain."""
    spans_received: int
    undrained: str | None
    """Why the drain did not end within its bound; None where it did."""
    broken: str | None
    """What died or did not come up, with the tail of its log; None for a whole round."""
    senders: tuple[SenderReport, ...] = ()
    """Of the generator, where entries go over Kafka."""
    host: Host = Host()
    doubts: tuple[Doubt, ...] = ()
    slices: Slices | None = None
    """As planned: spools have the times of the sitting, tables those of the arm itself."""

    def messages(self) -> tuple[Messages, ...]:
        """Of every process that sent or took any over Kafka."""
        return (*(p.messages for p in self.processes), *(s.messages for s in self.senders))


Progress = Callable[[str, float], None]
"""Phase (``start``, ``warmup``, ``measured``, ``drain``, ``read``) and share done, 0..1."""


class Engine(Protocol):
    name: str
    clock: ClockName

    @property
    def broker_kind(self) -> BrokerKind | None:
        """None until :meth:`open`, and where no edge needs a broker."""
        ...

    @property
    def broker_address(self) -> str | None:
        """``HOST:PORT`` where clients of Kafka find it; None where there is none."""
        ...

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

    async def sitting(
        self, plans: Sequence[RoundPlan], directories: Sequence[Path], progress: Progress
    ) -> tuple[Evidence, ...]:
        """Execute rounds whose services are alive at once, each loaded in its own slices.

        As :meth:`round`, of all of them; each has a directory.
        """
        ...

    async def close(self) -> None: ...
