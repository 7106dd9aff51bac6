"""A run before anything starts, decided once: what it does, what it costs, and what it starts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from hopbench import engines
from hopbench.deploy import containers
from hopbench.deploy.compose_file import IMAGE_VARIABLE, KAFKA_OUTSIDE
from hopbench.deploy.containers import Container, Deployment
from hopbench.engines import is_virtual
from hopbench.engines.attached import places
from hopbench.engines.port import EMBEDDED, Settings
from hopbench.engines.wall import trace_stores
from hopbench.host.memory import available_mb
from hopbench.runs import fits
from hopbench.runs.estimate import Estimate, estimate
from hopbench.runs.plan import RunPlan, Turn, plan_of
from services.scenario.file.parser import Loaded
from services.scenario.packing import packs
from services.wire.topology import topology, uses_kafka

Kind = Literal["process", "container", "attached"]
HERE: Final = ("local", "virtual")
"""Engines whose services take the memory of this machine, and of this process's own view of it."""

# Measured, in MB: a process of ours, and each service that shares one with others beside it.
_PROCESS_MB: Final = 80
_PACKED_MB: Final = 0.35
# In containers: the supervisor with its fork server, and what a replica adds.
_NODE_MB: Final = 90
_REPLICA_MB: Final = 50
_LOCUST_MB: Final = 100
_KAFKA_MB: Final = 500


@dataclass(frozen=True, slots=True)
class Started:
    """Parts of one role; an ``attached`` one is not started, but used."""

    role: str
    kind: Kind
    count: int
    source: str | None
    """Of a container its image, of an attached part its address."""
    limit_mib: int | None
    """Of memory, of all ``count`` together; None: none is set."""
    memory_mb: float
    """What all of them take; of the bench nothing, which :class:`Estimate` knows."""

    def document(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if name != "memory_mb"}


@dataclass(frozen=True, slots=True)
class Prepared:
    plan: RunPlan
    turns: tuple[Turn, ...]
    """Those to run: all, or what a run that is resumed still lacks."""
    estimate: Estimate
    """Of :attr:`turns`."""
    starts: tuple[Started, ...]
    """In the order in which they come up; none for virtual time."""
    deployment: Deployment | None
    """Where the run has containers of its own: what they are."""

    @property
    def processes(self) -> int:
        """At once, beside the bench itself."""
        return sum(part.count for part in self.starts if part.kind == "process")

    @property
    def memory_mb(self) -> float:
        """Of the bench and all that it starts."""
        return round(self.estimate.bench_mb + sum(part.memory_mb for part in self.starts), 1)

    def check(self, environment: Mapping[str, str]) -> None:
        """Raises BadInput where a part that the run takes for given is not there, or where it fits
        into this machine or its Jaeger no more."""
        settings = self.plan.settings
        engines.check(settings, self.plan.scenarios.values())
        if settings.jaeger is not None:
            fits.jaeger(self.estimate, environment)
        if settings.engine in HERE:
            fits.memory(self.memory_mb, f"in {self.processes} processes", available_mb())

    def document(self) -> dict[str, Any]:
        """The plan of a dry run."""
        cost = self.estimate
        return {
            **self.plan.document(),
            "estimate": {
                "requests": cost.requests,
                "traces": cost.traces,
                "spans": cost.spans,
                "processes": self.processes,
                "memory_mb": self.memory_mb,
                "disk_mb": cost.disk_mb,
                "minutes": cost.minutes,
            },
            "starts": [part.document() for part in self.starts],
        }


def prepare(plan: RunPlan, turns: tuple[Turn, ...], environment: Mapping[str, str]) -> Prepared:
    """``turns`` of ``plan``, as ``hopbench run`` in ``environment`` will run them: in containers of
    its own for ``--engine compose``, unless this is the bench in one of them.

    Raises BadInput for a malformed address.
    """
    cost = estimate(plan, len(turns))
    if plan.settings.engine == "compose" and not places.are_given(environment):
        made = _deployment(plan, cost, environment.get(IMAGE_VARIABLE))
        return Prepared(plan, turns, cost, tuple(_containers(made, cost)), made)
    return Prepared(plan, turns, cost, tuple(_processes(plan)), None)


def by_default(loaded: Loaded, engine: str, workers: int, image: str | None = None) -> Deployment:
    """What runs a round of each variant of ``loaded`` in containers, with every default."""
    settings = Settings(
        engine=engine,
        broker=EMBEDDED,
        tracing=True,
        trace_ratio=0.5,
        instrumentation="lean",
        web_port=None,
        workers=workers,
    )
    plan = plan_of(loaded.scenario, loaded.sha256, variants=(), rounds=1, settings=settings)
    return _deployment(plan, estimate(plan, len(plan.order)), image)


def _deployment(plan: RunPlan, cost: Estimate, image: str | None) -> Deployment:
    """Its Jaeger and its bench may take twice what ``cost`` says, or the usual."""
    kubernetes = plan.settings.engine == "kubernetes"
    return containers.deployment(
        plan.scenarios.values(),
        engine="kubernetes" if kubernetes else "compose",
        workers=plan.settings.workers,
        max_traces=max(containers.MAX_TRACES, 2 * cost.traces),
        jaeger_mb=_at_least(containers.JAEGER_MB, fits.jaeger_mb(2 * cost.stored_spans)),
        bench_mb=_at_least(containers.BENCH_MB, 2 * cost.bench_mb),
        outside=None if kubernetes else KAFKA_OUTSIDE,
        image=image,
    )


def _at_least(least: int, mb: float) -> int:
    """Whole steps of 256 MiB."""
    return max(least, math.ceil(mb / 256) * 256)


def _containers(made: Deployment, cost: Estimate) -> Iterator[Started]:
    of_kind: dict[str, list[Container]] = {}
    for container in made.containers:
        of_kind.setdefault(container.kind, []).append(container)
    for kind, alike in of_kind.items():
        yield Started(
            kind,
            "container",
            count=sum(each.count for each in alike),
            source=alike[0].image,
            limit_mib=sum(each.count * each.memory_mb for each in alike),
            memory_mb=sum(_taken_mb(each, cost) for each in alike),
        )


def _taken_mb(container: Container, cost: Estimate) -> float:
    match container.kind:
        case "node":
            return _NODE_MB + _REPLICA_MB * container.replicas
        case "kafka":
            return _KAFKA_MB
        case "jaeger":
            return fits.jaeger_mb(cost.stored_spans)
        case "locust" | "locust-worker":
            return _LOCUST_MB * container.replicas
        case "bench":
            return 0.0


def _processes(plan: RunPlan) -> Iterator[Started]:
    """Of a run without containers of its own: on this machine, and attached parts."""
    settings = plan.settings
    if is_virtual(settings):
        return
    local = settings.engine == "local"
    arms = plan.at_once
    if local:
        packed = [packs(scenario) for scenario in plan.scenarios.values()]
        shared = max(sum(len(pack.replicas) for pack in of if pack.shared) for of in packed)
        yield _process("service", arms * max(map(len, packed)), arms * _PACKED_MB * shared)
        yield _process("node", arms)
        yield _process("fork server", arms)
        yield _process("collector", arms)
    if any(uses_kafka(topology(scenario)) for scenario in plan.scenarios.values()):
        if settings.broker != EMBEDDED:
            yield _attached("kafka", settings.broker)
        elif local:
            yield _process("embedded broker")
    there = trace_stores.where(settings)
    if there is not None:
        yield _attached("jaeger", f"{there.query}, OTLP at {there.otlp}")
    if local:
        yield _process("locust", arms)
        if settings.workers > 1:
            yield _process("locust-worker", arms * settings.workers)
        # Each generator has a process beside it for entries over Kafka.
        if any(entry.protocol == "kafka" for entry in plan.scenario.load.entries):
            yield _process("kafka-entries", arms * settings.workers)


def _process(role: str, count: int = 1, more_mb: float = 0.0) -> Started:
    return Started(role, "process", count, None, None, _PROCESS_MB * count + more_mb)


def _attached(role: str, address: str) -> Started:
    return Started(role, "attached", 1, address, None, 0.0)


_NAMES: Final = {
    "service": ("service process", "service processes"),
    "node": ("node", "nodes"),
    "fork server": ("fork server", "fork servers"),
    "collector": ("collector", "collectors"),
    "kafka": ("Kafka", "Kafkas"),
    "jaeger": ("Jaeger", "Jaegers"),
    "locust": ("Locust", "Locusts"),
    "locust-worker": ("Locust worker", "Locust workers"),
    "kafka-entries": ("process for Kafka entries", "processes for Kafka entries"),
}


def lines(parts: tuple[Started, ...]) -> list[str]:
    """For people: a line for each role of containers and each attached part, one for processes."""
    told: list[str] = []
    processes = [part for part in parts if part.kind == "process"]
    if processes:
        told.append("starts " + ", ".join(map(_counted, processes)))
    for part in parts:
        if part.kind == "container":
            told.append(
                f"starts {_counted(part)}: {part.source}, memory limit {part.limit_mib:,} MiB"
            )
        elif part.kind == "attached":
            told.append(f"uses {_name(part)} at {part.source}")
    return told


def _counted(part: Started) -> str:
    return f"{part.count} {_name(part)}"


def _name(part: Started) -> str:
    one, many = _NAMES.get(part.role, (part.role, part.role))
    return one if part.count == 1 else many
