"""From a scenario to a file that runs it: what `hopbench render` writes, by kind of file."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hopbench.deploy import compose, containers
from hopbench.deploy.containers import Deployment
from hopbench.engines.port import EngineName, Settings
from hopbench.runs import retention
from hopbench.runs.estimate import Estimate, estimate
from hopbench.runs.limits import Limits
from hopbench.runs.plan import RunPlan, plan_of
from services.scenario.file.parser import Loaded

# Measured in containers, in MB: the supervisor with its fork server, and what a replica adds.
_NODE_MB: Final = 90
_REPLICA_MB: Final = 50
_LOCUST_MB: Final = 100
_KAFKA_MB: Final = 500


@dataclass(frozen=True, slots=True)
class Kind:
    """``render`` takes a scenario and a number of Locust workers; ``then`` is what to do with the
    file, with its name for ``{file}``."""

    render: Callable[[Loaded, int], str]
    then: str


def checkout() -> Path | None:
    """Where this program's Dockerfile is; None for an installed package."""
    root = Path(__file__).resolve().parents[2]
    there = (root / "Dockerfile").is_file() and (root / "pyproject.toml").is_file()
    return root if there else None


def default_plan(loaded: Loaded, engine: EngineName, workers: int) -> RunPlan:
    """A round of each variant, with every default."""
    return plan_of(
        loaded.scenario,
        loaded.sha256,
        variants=(),
        rounds=1,
        settings=Settings(
            engine=engine,
            broker="embedded",
            tracing=True,
            trace_ratio=0.5,
            instrumentation="lean",
            web_port=None,
            workers=workers,
        ),
        limits=Limits(),
    )


def compose_deployment(
    planned: RunPlan, cost: Estimate, arguments: tuple[str, ...], image: str | None = None
) -> Deployment:
    return deployment_of(planned, cost, arguments, image, outside=compose.KAFKA_OUTSIDE)


def deployment_of(
    planned: RunPlan,
    cost: Estimate,
    arguments: tuple[str, ...],
    image: str | None = None,
    outside: str | None = None,
) -> Deployment:
    """What runs ``planned``; its Jaeger and its bench hold twice what it makes, or the usual."""
    spans = cost.traces * 100 if cost.spans is None else cost.spans
    return containers.deployment(
        planned.scenarios.values(),
        arguments=arguments,
        engine="kubernetes" if planned.settings.engine == "kubernetes" else "compose",
        workers=planned.settings.workers,
        max_traces=max(containers.MAX_TRACES, 2 * cost.traces),
        jaeger_mb=_at_least(
            containers.JAEGER_MB, retention.BASE_MB + 2 * spans * retention.SPAN_BYTES / 1e6
        ),
        bench_mb=_at_least(containers.BENCH_MB, 2 * cost.memory_mb),
        outside=outside,
        image=image,
    )


def needed_mb(planned: RunPlan, cost: Estimate) -> float:
    """Memory of all containers of a run together, in MB: what they take, not their limits."""
    deployment = compose_deployment(planned, cost, ())
    spans = cost.traces * 100 if cost.spans is None else cost.spans
    services = sum(_NODE_MB + _REPLICA_MB * node.replicas for node in deployment.nodes)
    locust = _LOCUST_MB * (1 + planned.settings.workers)
    jaeger = retention.BASE_MB + spans * retention.SPAN_BYTES / 1e6
    kafka = 0 if deployment.kafka is None else _KAFKA_MB
    return services + locust + jaeger + kafka + cost.memory_mb


def _at_least(least: int, mb: float) -> int:
    """Whole steps of 256 MiB."""
    return max(least, math.ceil(mb / 256) * 256)


def render_compose(loaded: Loaded, workers: int) -> str:
    planned = default_plan(loaded, "compose", workers)
    deployment = compose_deployment(planned, estimate(planned), (compose.SCENARIO_PATH,))
    root = checkout()
    document = compose.document(
        deployment,
        name=f"hopbench-{loaded.scenario.name}",
        scenario=loaded.text,
        build=None if root is None else str(root),
    )
    # As in the file at the root: one string, which Compose splits after it has put this in.
    bench = document["services"]["bench"]
    bench["command"] = " ".join([*bench["command"], f"${{{compose.ARGUMENTS_VARIABLE}:-}}"])
    return compose.to_yaml(document, _HEAD.format(name=loaded.scenario.name))


_HEAD: Final = """\
The scenario {name} in containers, by `hopbench render compose`:

    mkdir -p runs && docker compose -f FILE up
    docker compose -f FILE up --abort-on-container-exit --exit-code-from bench      for CI
    docker compose -f FILE down -v                            removes it all; ./runs stays

Results are in ./runs, beside this file. While it is up (until Ctrl-C): Jaeger at
http://127.0.0.1:16686, Locust at http://127.0.0.1:8089; HOPBENCH_JAEGER_PORT,
HOPBENCH_LOCUST_PORT and HOPBENCH_KAFKA_PORT move the ports, HOPBENCH_ARGS has more flags.
"""

KINDS: Final[Mapping[str, Kind]] = {
    "compose": Kind(render_compose, "mkdir -p runs && docker compose -f {file} up"),
}
