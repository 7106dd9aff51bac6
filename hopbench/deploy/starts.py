"""What a run will start, and what it uses that is there already: told by ``--dry-run``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from hopbench.deploy.containers import Container
from hopbench.deploy.deployment import compose_deployment
from hopbench.engines.wall import trace_stores
from hopbench.runs.estimate import Estimate
from hopbench.runs.plan import RunPlan
from services.scenario.packing import packs
from services.wire.topology import topology, uses_kafka

Kind = Literal["process", "container", "attached"]


@dataclass(frozen=True, slots=True)
class Started:
    """Parts of one role; an ``attached`` one is not started, but used."""

    role: str
    kind: Kind
    count: int = 1
    source: str | None = None
    """Of a container its image, of an attached part its address."""
    limit_mib: int | None = None
    """Of memory, of all ``count`` together; None: none is set."""

    def document(self) -> dict[str, Any]:
        return asdict(self)


def containers(plan: RunPlan, cost: Estimate, image: str) -> tuple[Started, ...]:
    """Of ``--engine compose`` on a host, by role, in the order in which they come up."""
    of_kind: dict[str, list[Container]] = {}
    for container in compose_deployment(plan, cost, (), image).containers:
        of_kind.setdefault(container.kind, []).append(container)
    return tuple(
        Started(
            kind,
            "container",
            sum(each.count for each in alike),
            alike[0].image,
            sum(each.count * each.memory_mb for each in alike),
        )
        for kind, alike in of_kind.items()
    )


def processes(plan: RunPlan) -> tuple[Started, ...]:
    """Of a run without containers of its own: processes on this machine, and attached parts."""
    return tuple(_processes(plan))


def _processes(plan: RunPlan) -> Iterator[Started]:
    settings = plan.settings
    local = settings.engine == "local"
    if settings.engine == "virtual":
        return
    if local:
        most = max(len(packs(scenario)) for scenario in plan.scenarios.values())
        yield Started("service", "process", most)
        yield Started("node", "process")
        yield Started("fork server", "process")
        yield Started("collector", "process")
    if any(uses_kafka(topology(scenario)) for scenario in plan.scenarios.values()):
        if settings.broker != "embedded":
            yield Started("kafka", "attached", source=settings.broker)
        elif local:
            yield Started("embedded broker", "process")
    there = trace_stores.where(settings)
    if there is not None:
        yield Started("jaeger", "attached", source=f"{there.query}, OTLP at {there.otlp}")
    if local:
        yield Started("locust", "process")
        if settings.workers > 1:
            yield Started("locust-worker", "process", settings.workers)
        if any(entry.protocol == "kafka" for entry in plan.scenario.load.entries):
            yield Started("kafka-entries", "process", settings.workers)


_NAMES: Final = {
    "service": ("service process", "service processes"),
    "node": ("node", "nodes"),
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
