"""What runs where when the parts are containers: one model, rendered for Compose and Kubernetes.

One node container for each service (for each process, where the scenario packs services into
`processes: N`), Kafka where any variant has an edge over it, Jaeger, Locust's master and workers,
and the bench, which finds the others by its environment (hopbench/engines/attached/places.py).
Names are host names: every part is found at ``name:port``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from importlib import metadata
from typing import Final, Literal

from hopbench.engines.attached.places import LOCUST_VARIABLE, NODES_VARIABLE
from hopbench.runs.fits import MAX_TRACES_VARIABLE, MEMORY_VARIABLE
from services.scenario.model import Scenario
from services.scenario.packing import packed, packs
from services.wire.topology import topology, uses_kafka

Kind = Literal["node", "kafka", "jaeger", "locust", "locust-worker", "bench"]

KAFKA_IMAGE: Final = "apache/kafka:4.3.1"
JAEGER_IMAGE: Final = "jaegertracing/jaeger:2.13.0"
USER: Final = 10001
"""Uid and gid of every part in our own image; the Dockerfile's."""

NODE_PORT: Final = 7070
CONTROL_PORT: Final = 7071
LOCUST_PORT: Final = 5557
WEB_PORT: Final = 8089
KAFKA_PORT: Final = 9092
KAFKA_OUTSIDE_PORT: Final = 9094
"""For clients outside of the containers' network: they are told another address."""
_KAFKA_CONTROLLER_PORT: Final = 9093
QUERY_PORT: Final = 16686
OTLP_PORT: Final = 4317
JAEGER_HEALTH_PORT: Final = 13133

COLLECTOR: Final = "otel-collector"
"""In Kubernetes alone: the OpenTelemetry Collector, which sends traces on to Jaeger."""
RESULTS: Final = "results"
"""In Kubernetes alone: what shows run directories once the bench has ended."""

MAX_TRACES: Final = 20_000
JAEGER_MB: Final = 2048
KAFKA_MB: Final = 1024
KAFKA_HEAP_MB: Final = 512
LOCUST_MB: Final = 512
BENCH_MB: Final = 2048
REPLICA_MB: Final = 128
_NODE_MB: Final = 256
"""Supervisor and fork server, beside the replicas."""


@dataclass(frozen=True, slots=True)
class Container:
    """One kind of container, and how many of it. Commands are whole command lines, without a
    shell; none means the image's own."""

    name: str
    kind: Kind
    image: str
    memory_mb: int
    """Its limit, in MiB."""
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    """Without the token, which is a secret."""
    token: bool = False
    """Whether it must be given ``HOPBENCH_TOKEN``."""
    ports: Mapping[str, int] = field(default_factory=dict)
    """Where it listens, by what for."""
    health: tuple[str, ...] = ()
    """A command that succeeds inside the container once the part is ready."""
    writable: tuple[str, ...] = ("/tmp",)
    """Directories that must be writable; everything else is read-only."""
    replicas: int = 1
    """Of the services' replicas, as many as the node has to run: one container may hold them all
    (Compose), or each has a container of its own (Kubernetes)."""
    services: tuple[str, ...] = ()
    """Of a node: whose processes it runs."""

    @property
    def count(self) -> int:
        """How many Compose starts: there, a node's one container holds all replicas."""
        return self.replicas if self.kind == "locust-worker" else 1


@dataclass(frozen=True, slots=True)
class Deployment:
    nodes: tuple[Container, ...]
    kafka: Container | None
    jaeger: Container
    locust: Container
    workers: Container
    """Locust's; ``replicas`` is how many."""
    bench: Container

    @property
    def containers(self) -> tuple[Container, ...]:
        """All, the bench last: it needs the others."""
        kafka = () if self.kafka is None else (self.kafka,)
        return (*kafka, self.jaeger, *self.nodes, self.locust, self.workers, self.bench)

    def running(self, *arguments: str) -> Deployment:
        """Whose bench is given ``arguments`` of ``hopbench run``: a scenario, and flags."""
        program, command, *flags = self.bench.command
        return replace(
            self, bench=replace(self.bench, command=(program, command, *arguments, *flags))
        )


def version() -> str:
    """Of this program, as an image's tag."""
    try:
        return metadata.version("hopbench")
    except metadata.PackageNotFoundError:
        return "latest"


def own_image() -> str:
    return f"hopbench:{version()}"


def deployment(
    scenarios: Iterable[Scenario],
    *,
    engine: Literal["compose", "kubernetes"],
    workers: int = 1,
    max_traces: int = MAX_TRACES,
    jaeger_mb: int = JAEGER_MB,
    bench_mb: int = BENCH_MB,
    outside: str | None = None,
    image: str | None = None,
) -> Deployment:
    """Everything that runs ``scenarios``, which are all variants (or several scenarios, one at a
    time).

    ``outside`` is the ``HOST:PORT`` at which Kafka tells clients on the host to come back; None
    leaves that listener out.
    """
    scenarios = tuple(scenarios)
    ours = image or own_image()
    kafka = any(uses_kafka(topology(scenario)) for scenario in scenarios)
    nodes = _nodes(scenarios, ours)
    locust = _locust(ours)
    flags = ["--engine", engine, "--jaeger", f"http://jaeger:{QUERY_PORT}"]
    otlp = COLLECTOR if engine == "kubernetes" else "jaeger"
    flags += ["--jaeger-otlp", f"{otlp}:{OTLP_PORT}"]
    if kafka:
        flags += ["--broker", f"kafka:{KAFKA_PORT}"]
    return Deployment(
        nodes=nodes,
        kafka=kafka_container(outside) if kafka else None,
        jaeger=_jaeger(max_traces, jaeger_mb),
        locust=locust,
        workers=Container(
            name="locust-worker",
            kind="locust-worker",
            image=ours,
            memory_mb=LOCUST_MB,
            command=(*_LAUNCH, "worker", "--master", f"locust:{LOCUST_PORT}"),
            token=True,
            replicas=workers,
        ),
        bench=Container(
            name="bench",
            kind="bench",
            image=ours,
            memory_mb=bench_mb,
            command=("hopbench", "run", *flags),
            environment={
                NODES_VARIABLE: ",".join(
                    f"{service}={node.name}:{NODE_PORT}"
                    for node in nodes
                    for service in node.services
                ),
                LOCUST_VARIABLE: f"{locust.name}:{CONTROL_PORT}",
                MAX_TRACES_VARIABLE: str(max_traces),
                MEMORY_VARIABLE: str(jaeger_mb),
                # There is no terminal to ask, and no home to look into.
                "COLUMNS": "110",
                "HOME": "/tmp",
            },
            token=True,
        ),
    )


_LAUNCH: Final = ("python", "-m", "loadgen.launch")
RESERVED: Final = frozenset(
    {"kafka", "jaeger", "locust", "locust-worker", "bench", COLLECTOR, RESULTS}
)


def _nodes(scenarios: tuple[Scenario, ...], ours: str) -> tuple[Container, ...]:
    served: dict[str, dict[str, None]] = {}
    replicas: dict[str, int] = {}
    for scenario in scenarios:
        if packed(scenario):
            for number, pack in enumerate(packs(scenario)):
                name = f"pack-{number}"
                served.setdefault(name, {}).update(dict.fromkeys(pack.services))
                replicas[name] = 1
        else:
            for service in scenario.services.values():
                served.setdefault(service.name, {})[service.name] = None
                replicas[service.name] = max(replicas.get(service.name, 1), service.replicas)
    names = _host_names(served)
    return tuple(
        Container(
            name=names[name],
            kind="node",
            image=ours,
            memory_mb=_NODE_MB + REPLICA_MB * max(replicas[name], 2) + len(services) // 4,
            command=("hopbench", "node", "--host", "0.0.0.0", "--port", str(NODE_PORT)),
            token=True,
            ports={"control": NODE_PORT},
            health=listens(NODE_PORT),
            replicas=replicas[name],
            services=tuple(services),
        )
        for name, services in served.items()
    )


def _host_names(names: Iterable[str]) -> dict[str, str]:
    """A service may be called as one of the other parts, or end in a dash; a host may not."""
    found: dict[str, str] = {}
    names = tuple(names)
    for name in names:
        host = name
        while host in RESERVED or host.endswith("-") or (host != name and host in names):
            host = f"{host.rstrip('-')}-node"
        found[name] = host
    return found


def _locust(ours: str) -> Container:
    return Container(
        name="locust",
        kind="locust",
        image=ours,
        memory_mb=LOCUST_MB,
        command=(
            *(*_LAUNCH, "master", "--control", f"0.0.0.0:{CONTROL_PORT}"),
            *("--web", f"0.0.0.0:{WEB_PORT}"),
        ),
        token=True,
        ports={"control": CONTROL_PORT, "workers": LOCUST_PORT, "web": WEB_PORT},
        # Not the control port, where a connection is a round.
        health=listens(WEB_PORT),
    )


def _jaeger(max_traces: int, memory_mb: int) -> Container:
    return Container(
        name="jaeger",
        kind="jaeger",
        image=JAEGER_IMAGE,
        memory_mb=memory_mb,
        # The all-in-one configuration of the image, with another bound on what it keeps.
        command=(
            f"--set=extensions.jaeger_storage.backends.some_storage.memory.max_traces={max_traces}",
        ),
        # Go gives memory back before the limit ends it.
        environment={
            "GOMEMLIMIT": f"{memory_mb * 7 // 8}MiB",
            # It would send its own traces to itself.
            "OTEL_TRACES_SAMPLER": "always_off",
        },
        ports={"otlp": OTLP_PORT, "query": QUERY_PORT, "health": JAEGER_HEALTH_PORT},
        health=("wget", "-q", "--spider", f"http://127.0.0.1:{JAEGER_HEALTH_PORT}/status"),
    )


def kafka_container(outside: str | None) -> Container:
    """A broker that is its own controller (KRaft)."""
    listeners = {
        "INSIDE": f"kafka:{KAFKA_PORT}",
        **({} if outside is None else {"OUTSIDE": outside}),
    }
    ports = {
        "INSIDE": KAFKA_PORT,
        "CONTROLLER": _KAFKA_CONTROLLER_PORT,
        **({} if outside is None else {"OUTSIDE": KAFKA_OUTSIDE_PORT}),
    }
    return Container(
        name="kafka",
        kind="kafka",
        image=KAFKA_IMAGE,
        memory_mb=KAFKA_MB,
        environment={
            "KAFKA_NODE_ID": "1",
            "KAFKA_PROCESS_ROLES": "broker,controller",
            "KAFKA_LISTENERS": ",".join(f"{name}://:{port}" for name, port in ports.items()),
            "KAFKA_ADVERTISED_LISTENERS": ",".join(
                f"{name}://{address}" for name, address in listeners.items()
            ),
            "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": ",".join(f"{name}:PLAINTEXT" for name in ports),
            "KAFKA_INTER_BROKER_LISTENER_NAME": "INSIDE",
            "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
            "KAFKA_CONTROLLER_QUORUM_VOTERS": f"1@localhost:{_KAFKA_CONTROLLER_PORT}",
            "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
            "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
            "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
            "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
            "KAFKA_LOG_DIRS": "/var/lib/kafka/data",
            "KAFKA_HEAP_OPTS": f"-Xms{KAFKA_HEAP_MB}m -Xmx{KAFKA_HEAP_MB}m",
        },
        ports={"kafka": KAFKA_PORT} | ({} if outside is None else {"outside": KAFKA_OUTSIDE_PORT}),
        # Cheap: the port opens when the broker serves. Kafka's own tools start a JVM each time.
        health=listens(KAFKA_PORT),
        writable=("/tmp", "/opt/kafka/config", "/opt/kafka/logs"),
    )


def listens(port: int) -> tuple[str, ...]:
    """A check that costs no interpreter's start."""
    return ("bash", "-c", f"</dev/tcp/127.0.0.1/{port}")
