"""A :class:`~hopbench.deploy.containers.Deployment` as objects of Kubernetes.

A Deployment with a headless Service for each service of the scenario: one pod, and so one node,
for each replica, and its name resolves to all of them. A Job runs the bench, and leaves what it
measured on a volume claim, where the Deployment ``results`` shows it once it is scaled up.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import yaml

from hopbench.deploy import pods
from hopbench.deploy.containers import (
    COLLECTOR,
    JAEGER_HEALTH_PORT,
    KAFKA_PORT,
    OTLP_PORT,
    QUERY_PORT,
    REPLICA_MB,
    RESULTS,
    Container,
    Deployment,
)
from hopbench.deploy.pods import Mount, Object
from services.errors import BadInput

NAMESPACE: Final = "hopbench"
STORAGE: Final = "2Gi"
COLLECTOR_IMAGE: Final = "otel/opentelemetry-collector:0.140.0"
"""Of the same release as what Jaeger 2.13 is built of."""
COLLECTOR_MB: Final = 512
_RESULTS_MB: Final = 128
RESULTS_PORT: Final = 8000

SCENARIO: Final = "scenario"
SCENARIO_PATH: Final = "/scenario/scenario.yaml"
RUNS: Final = "runs"
RUNS_PATH: Final = "/runs"
_CONFIG_PATH: Final = "/etc/otelcol"
_KAFKA_DATA_PATH: Final = "/var/lib/kafka/data"
WAIT_S: Final = 600
"""For Kafka, Jaeger and the collector, whose images may have to be pulled."""

MAX_CONFIG_BYTES: Final = 1_000_000
"""A ConfigMap holds 1 MiB, names and all."""
_DNS_LABEL: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_QUANTITY: Final = re.compile(r"[1-9][0-9]{0,5}(Ki|Mi|Gi|Ti|k|M|G|T)")
_IMAGE: Final = re.compile(
    r"[a-z0-9][A-Za-z0-9._:/-]*?(:[A-Za-z0-9_][A-Za-z0-9._-]{0,127}|@sha256:[0-9a-f]{64})"
)
_TOKEN: Final = re.compile(r"[!-~]{8,200}")


def new_token() -> str:
    return secrets.token_urlsafe(24)


@dataclass(frozen=True, slots=True)
class Cluster:
    """What the user decides. Raises BadInput."""

    namespace: str = NAMESPACE
    image: str | None = None
    """Ours, as the cluster pulls it."""
    storage: str = STORAGE
    """A quantity: how much the volume for run directories holds."""
    token: str = field(default_factory=new_token)

    def __post_init__(self) -> None:
        if not _DNS_LABEL.fullmatch(self.namespace):
            raise BadInput(
                f"--namespace: {self.namespace!r} cannot be the name of a namespace",
                hint="lower-case letters, digits and dashes, 63 at most",
            )
        if self.image is not None and not _IMAGE.fullmatch(self.image):
            raise BadInput(
                f"--image: {self.image!r} is not NAME:TAG or NAME@sha256:DIGEST",
                hint="an image without a tag may be another one tomorrow",
            )
        if not _QUANTITY.fullmatch(self.storage):
            raise BadInput(f"--storage: {self.storage!r} is not a size", hint="for example 2Gi")
        if not _TOKEN.fullmatch(self.token):
            raise BadInput(
                "--token: 8 to 200 printable ASCII characters without spaces",
                hint="leave it out, and one is made",
            )


def objects(deployment: Deployment, scenario: str, cluster: Cluster) -> list[Object]:
    """Everything that runs ``deployment``, in an order in which it can be applied.

    ``scenario`` is the text that the bench reads at :data:`SCENARIO_PATH`. Raises BadInput for one
    that does not fit.
    """
    arguments = [SCENARIO_PATH, "--jaeger-ui", f"http://127.0.0.1:{QUERY_PORT}"]
    if deployment.workers.replicas > 1:
        # A round then waits for all of them.
        arguments += ["--workers", str(deployment.workers.replicas)]
    deployment = deployment.running(*arguments)
    if len(scenario.encode()) > MAX_CONFIG_BYTES:
        raise BadInput(
            f"the scenario has {len(scenario.encode()):,} bytes; a ConfigMap takes "
            f"{MAX_CONFIG_BYTES:,}"
        )
    kafka = deployment.kafka
    collector = _collector()
    results = _results(deployment.bench.image)
    made = [
        _namespace(cluster.namespace),
        {**_head("v1", "Secret", pods.TOKEN_SECRET), "stringData": {"token": cluster.token}},
        _config(SCENARIO, {"scenario.yaml": scenario}),
        _config(COLLECTOR, {"config.yaml": collector_config()}),
        _claim(cluster.storage),
        _network_policy(),
        *(() if kafka is None else (_service(kafka, headless=True), _stateful_set(kafka))),
        _service(deployment.jaeger),
        _deployment(deployment.jaeger, pods.probed(_http("/status", "health"))),
        _service(collector, kind=COLLECTOR),
        _deployment(
            collector,
            pods.probed(_http("/", "health")),
            kind=COLLECTOR,
            mounts=(_collector_mount(),),
        ),
    ]
    for node in deployment.nodes:
        # The node finds its pod's address in its environment, and listens there alone.
        placed = replace(
            node,
            command=_with(node.command, "--host", f"$({pods.IP_VARIABLE})"),
            # For one replica, where the container is measured out for all of them.
            memory_mb=node.memory_mb - REPLICA_MB * max(node.replicas - 2, 0),
        )
        made += [
            _service(placed, headless=True),
            _deployment(placed, pods.probed(_http("/health", "control")), replicas=placed.replicas),
        ]
    made += [
        _service(deployment.locust),
        _deployment(deployment.locust, pods.probed(_tcp("web"))),
        _deployment(deployment.workers, replicas=deployment.workers.replicas),
        _job(deployment.bench, _awaited(deployment)),
        _deployment(
            results,
            pods.probed(_http("/", "http"), alive=False),
            kind=RESULTS,
            replicas=0,
            mounts=(Mount(RUNS, RUNS_PATH, _claimed(), read_only=True),),
        ),
    ]
    return [_in_namespace(one, cluster.namespace) for one in made]


def collector_config() -> str:
    """Of the OpenTelemetry Collector: OTLP in, to Jaeger by OTLP."""
    return yaml.safe_dump(
        {
            "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": f"0.0.0.0:{OTLP_PORT}"}}}},
            "processors": {
                "memory_limiter": {
                    "check_interval": "1s",
                    "limit_percentage": 80,
                    "spike_limit_percentage": 20,
                },
                "batch": {"timeout": "200ms"},
            },
            "exporters": {
                "otlp": {"endpoint": f"jaeger:{OTLP_PORT}", "tls": {"insecure": True}},
            },
            "extensions": {"health_check": {"endpoint": f"0.0.0.0:{JAEGER_HEALTH_PORT}"}},
            "service": {
                "extensions": ["health_check"],
                "pipelines": {
                    "traces": {
                        "receivers": ["otlp"],
                        "processors": ["memory_limiter", "batch"],
                        "exporters": ["otlp"],
                    }
                },
                # Its own metrics would open one more port.
                "telemetry": {"metrics": {"level": "none"}},
            },
        },
        sort_keys=False,
    )


def _collector() -> Container:
    return Container(
        name=COLLECTOR,
        kind="jaeger",
        image=COLLECTOR_IMAGE,
        memory_mb=COLLECTOR_MB,
        command=(f"--config={_CONFIG_PATH}/config.yaml",),
        environment={"GOMEMLIMIT": f"{COLLECTOR_MB * 7 // 8}MiB"},
        ports={"otlp": OTLP_PORT, "health": JAEGER_HEALTH_PORT},
    )


def _collector_mount() -> Mount:
    return Mount("config", _CONFIG_PATH, {"configMap": {"name": COLLECTOR}}, read_only=True)


def _results(image: str) -> Container:
    """Shows run directories; has ``tar``, which `kubectl cp` needs."""
    serve = ("python", "-m", "http.server", str(RESULTS_PORT), "--directory", RUNS_PATH)
    return Container(
        name=RESULTS,
        kind="bench",
        image=image,
        memory_mb=_RESULTS_MB,
        command=serve,
        ports={"http": RESULTS_PORT},
    )


def _awaited(deployment: Deployment) -> tuple[str, ...]:
    """What the bench takes for given; nodes and Locust it waits for itself."""
    kafka = () if deployment.kafka is None else (f"kafka:{KAFKA_PORT}",)
    return (*kafka, f"jaeger:{QUERY_PORT}", f"{COLLECTOR}:{OTLP_PORT}")


def _job(bench: Container, awaited: tuple[str, ...]) -> Object:
    wait = {
        "name": "wait",
        "image": bench.image,
        "imagePullPolicy": "IfNotPresent",
        "command": [
            "python",
            "-m",
            "hopbench.deploy.inside.waiting",
            f"--within={WAIT_S}",
            *awaited,
        ],
        "resources": pods.resources("results", _RESULTS_MB),
        "securityContext": pods.hardened(),
    }
    scenario = {"configMap": {"name": SCENARIO}}
    template = pods.template(
        bench,
        before=(wait,),
        mounts=(
            Mount(SCENARIO, SCENARIO_PATH.rpartition("/")[0], scenario, read_only=True),
            Mount(RUNS, RUNS_PATH, _claimed()),
        ),
        restart="Never",
    )
    return {
        **_head("batch/v1", "Job", bench.name, pods.labels(bench.name, bench.kind)),
        # Its exit code is the answer; another attempt would hide it.
        "spec": {"backoffLimit": 0, "template": template},
    }


def _deployment(
    container: Container,
    probes: Object | None = None,
    *,
    kind: str | None = None,
    replicas: int = 1,
    mounts: tuple[Mount, ...] = (),
) -> Object:
    return {
        **_head(
            "apps/v1",
            "Deployment",
            container.name,
            pods.labels(container.name, kind or container.kind),
        ),
        "spec": {
            "replicas": replicas,
            # Never an old one beside a new one: the bench counts addresses.
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": pods.selector(container.name)},
            "template": pods.template(container, kind=kind, mounts=mounts, probes=probes),
        },
    }


def _stateful_set(kafka: Container) -> Object:
    """Its data outlives a restart of the container, not the pod: a run's topics are its own."""
    data = Mount("data", _KAFKA_DATA_PATH, {"emptyDir": {}})
    template = pods.template(kafka, mounts=(data,), probes=pods.probed(_tcp("kafka")))
    return {
        **_head("apps/v1", "StatefulSet", kafka.name, pods.labels(kafka.name, kafka.kind)),
        "spec": {
            "replicas": 1,
            "serviceName": kafka.name,
            "selector": {"matchLabels": pods.selector(kafka.name)},
            "template": template,
        },
    }


def _service(container: Container, *, kind: str | None = None, headless: bool = False) -> Object:
    spec: Object = {"clusterIP": "None"} if headless else {}
    spec["selector"] = pods.selector(container.name)
    spec["ports"] = [
        {"name": name, "port": port, "targetPort": name} for name, port in container.ports.items()
    ]
    head = _head(
        "v1", "Service", container.name, pods.labels(container.name, kind or container.kind)
    )
    return {**head, "spec": spec}


def _network_policy() -> Object:
    """Pods of the namespace reach each other, and names; nothing else, in and out."""
    inside: Object = {"podSelector": {}}
    dns = [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]
    return {
        **_head("networking.k8s.io/v1", "NetworkPolicy", "inside-only"),
        "spec": {
            "podSelector": {},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": [inside]}],
            "egress": [{"to": [inside]}, {"ports": dns}],
        },
    }


def _namespace(name: str) -> Object:
    head = _head("v1", "Namespace", name)
    for mode in ("enforce", "warn"):
        head["metadata"]["labels"][f"pod-security.kubernetes.io/{mode}"] = "restricted"
    return head


def _config(name: str, data: Mapping[str, str]) -> Object:
    return {**_head("v1", "ConfigMap", name), "data": dict(data)}


def _claim(storage: str) -> Object:
    return {
        **_head("v1", "PersistentVolumeClaim", RUNS),
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": storage}},
        },
    }


def _claimed() -> Object:
    return {"persistentVolumeClaim": {"claimName": RUNS}}


def _head(version: str, kind: str, name: str, labels: Mapping[str, str] | None = None) -> Object:
    own = {pods.PART_OF: pods.PROGRAM} if labels is None else dict(labels)
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "labels": own}}


def _in_namespace(one: Object, namespace: str) -> Object:
    if one["kind"] == "Namespace":
        return one
    metadata = one["metadata"]
    return {**one, "metadata": {"name": metadata["name"], "namespace": namespace, **metadata}}


def _http(path: str, port: str) -> Object:
    return {"httpGet": {"path": path, "port": port}}


def _tcp(port: str) -> Object:
    return {"tcpSocket": {"port": port}}


def _with(command: tuple[str, ...], flag: str, value: str) -> tuple[str, ...]:
    """``command`` with another value for ``flag``."""
    at = command.index(flag) + 1
    return (*command[:at], value, *command[at + 1 :])
