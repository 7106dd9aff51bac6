"""Pods for the containers of a :class:`~hopbench.deploy.containers.Deployment`.

Every pod keeps to the restricted Pod Security Standard
(https://kubernetes.io/docs/concepts/security/pod-security-standards/) and has a read-only root
file system.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from hopbench.deploy.containers import USER, Container
from hopbench.engines.attached.places import ADVERTISE_VARIABLE, TOKEN_VARIABLE

Object = dict[str, Any]

PART: Final = "app.kubernetes.io/name"
COMPONENT: Final = "app.kubernetes.io/component"
PART_OF: Final = "app.kubernetes.io/part-of"
PROGRAM: Final = "hopbench"

TOKEN_SECRET: Final = "hopbench-token"
TOKEN_KEY: Final = "token"
IP_VARIABLE: Final = "POD_IP"

KAFKA_USER: Final = 1000
"""``appuser`` of the image apache/kafka."""
_OWN_USER: Final[Mapping[str, int]] = {"kafka": KAFKA_USER}
"""All others run as :data:`USER`, which is also what Jaeger's and the collector's images have."""

CPU: Final[Mapping[str, tuple[str, str]]] = {
    "node": ("100m", "2"),
    "kafka": ("500m", "2"),
    "jaeger": ("250m", "2"),
    "otel-collector": ("100m", "2"),
    "locust": ("100m", "2"),
    "locust-worker": ("500m", "2"),
    "bench": ("500m", "2"),
    "results": ("10m", "1"),
}
"""Request and limit by kind. A limit is more than what the part can use: a container at its limit
is stopped for the rest of each 100 ms, and that would be measured."""

_GRACE_S: Final[Mapping[str, int]] = {"bench": 60, "kafka": 30}
_GRACE_USUAL_S: Final = 15


@dataclass(frozen=True, slots=True)
class Mount:
    """A volume, and where it is in the container."""

    name: str
    path: str
    source: Object
    """As in a pod's ``volumes``, without the name."""
    read_only: bool = False


def labels(name: str, kind: str) -> dict[str, str]:
    return {PART: name, COMPONENT: kind, PART_OF: PROGRAM}


def selector(name: str) -> dict[str, str]:
    return {PART: name, PART_OF: PROGRAM}


def volume_name(path: str) -> str:
    """``/opt/kafka/logs`` → ``opt-kafka-logs``."""
    return path.strip("/").replace("/", "-")


def template(
    container: Container,
    *,
    kind: str | None = None,
    mounts: Sequence[Mount] = (),
    probes: Object | None = None,
    before: Sequence[Object] = (),
    restart: str | None = None,
) -> Object:
    """A pod template with ``container`` in it. ``kind`` is given where containers.Kind has none for
    it, ``before`` are its init containers."""
    kind = kind or container.kind
    user = _OWN_USER.get(kind, USER)
    mounts = (*(Mount(volume_name(at), at, {"emptyDir": {}}) for at in container.writable), *mounts)
    spec: Object = {
        "automountServiceAccountToken": False,
        # Variables such as KAFKA_PORT would be taken for settings by Kafka's image.
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": _GRACE_S.get(kind, _GRACE_USUAL_S),
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": user,
            "runAsGroup": user,
            "fsGroup": user,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    if restart is not None:
        spec["restartPolicy"] = restart
    if before:
        spec["initContainers"] = list(before)
    spec["containers"] = [_container(container, kind, mounts) | (probes or {})]
    spec["volumes"] = [{"name": mount.name, **mount.source} for mount in mounts]
    return {"metadata": {"labels": labels(container.name, kind)}, "spec": spec}


def _container(container: Container, kind: str, mounts: Sequence[Mount]) -> Object:
    made: Object = {
        "name": container.name,
        "image": container.image,
        "imagePullPolicy": "IfNotPresent",
    }
    if container.command:
        # Ours are whole command lines; other images have an entry point that takes arguments.
        made["command" if container.token or kind == "results" else "args"] = list(
            container.command
        )
    if environment := _environment(container):
        made["env"] = environment
    if container.ports:
        made["ports"] = [
            {"name": name, "containerPort": port} for name, port in container.ports.items()
        ]
    made["resources"] = resources(kind, container.memory_mb)
    made["securityContext"] = hardened()
    made["volumeMounts"] = [
        {"name": mount.name, "mountPath": mount.path}
        | ({"readOnly": True} if mount.read_only else {})
        for mount in mounts
    ]
    if container.kind == "bench":
        made["workingDir"] = "/"
    return made


def _environment(container: Container) -> list[Object]:
    found: list[Object] = [
        {"name": name, "value": value} for name, value in container.environment.items()
    ]
    if container.kind in ("node", "bench") and container.token:
        own_address = {"fieldRef": {"fieldPath": "status.podIP"}}
        name = ADVERTISE_VARIABLE if container.kind == "bench" else IP_VARIABLE
        found.append({"name": name, "valueFrom": own_address})
    if container.token:
        reference = {"name": TOKEN_SECRET, "key": TOKEN_KEY}
        found.append({"name": TOKEN_VARIABLE, "valueFrom": {"secretKeyRef": reference}})
    return found


def resources(kind: str, memory_mb: int) -> Object:
    """All of the memory is asked for, so that no pod is put where it would be killed for it."""
    request, limit = CPU[kind]
    memory = f"{memory_mb}Mi"
    return {
        "requests": {"cpu": request, "memory": memory},
        "limits": {"cpu": limit, "memory": memory},
    }


def hardened() -> Object:
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def probed(check: Object, *, alive: bool = True) -> Object:
    """Often until it is up, then seldom: while a run is measured, a probe is a disturbance."""
    return {
        "startupProbe": {**check, "periodSeconds": 1, "timeoutSeconds": 3, "failureThreshold": 180},
        "readinessProbe": {**check, "periodSeconds": 10, "timeoutSeconds": 5},
        **({"livenessProbe": _alive(check)} if alive else {}),
    }


def _alive(check: Object) -> Object:
    return {**check, "periodSeconds": 30, "timeoutSeconds": 10, "failureThreshold": 3}
