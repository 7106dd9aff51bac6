"""Rendered manifests: against the published schemas, against the Pod Security Standards, and
against each other."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from hopbench.deploy import kubernetes
from hopbench.deploy.inside import waiting
from hopbench.deploy.kubernetes import Cluster
from hopbench.deploy.preparation import by_default
from services.errors import BadInput
from services.scenario.file.parser import Loaded, bundled, load
from tests.command_line import Hopbench

VERSIONS = ("1.30", "1.37")
NAMES = tuple(bundled())
ROOT = Path(__file__).parents[2]
RENDER = ("render", "kubernetes")
Object = dict[str, Any]


def objects(loaded: Loaded, workers: int, cluster: Cluster) -> list[Object]:
    made = by_default(loaded, "kubernetes", workers, cluster.image)
    return kubernetes.objects(made, loaded.text, cluster)


RENDERED = {name: objects(load(name), 3, Cluster()) for name in NAMES}
every = pytest.mark.parametrize("name", NAMES)


def pods(name: str) -> Iterator[tuple[Object, Object]]:
    """Each workload with the specification of its pods."""
    for one in RENDERED[name]:
        if "template" in one.get("spec", {}):
            yield one, one["spec"]["template"]["spec"]


def containers(name: str) -> Iterator[Object]:
    for _, spec in pods(name):
        yield from spec.get("initContainers", [])
        yield from spec["containers"]


def of(name: str, kind: str) -> dict[str, Object]:
    return {one["metadata"]["name"]: one for one in RENDERED[name] if one["kind"] == kind}


def shape(value: Any) -> Any:
    """What of an object its schema looks at, nearly: equal where it must say the same."""
    if isinstance(value, dict):
        return frozenset((key, shape(inside)) for key, inside in value.items())
    if isinstance(value, list):
        return frozenset(map(shape, value))
    return value if isinstance(value, str) and value[:1].isupper() else type(value)


@pytest.mark.parametrize("version", VERSIONS)
def test_published_schemas(version: str) -> None:
    for one in {shape(one): one for made in RENDERED.values() for one in made}.values():
        kubernetes_validate.validate(one, version, strict=True)


def test_a_field_that_kubernetes_does_not_know_is_refused() -> None:
    job = next(one for one in RENDERED["chatty"] if one["kind"] == "Job")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(
            {**job, "spec": {**job["spec"], "retries": 0}}, VERSIONS[0], strict=True
        )


@every
def test_restricted_pod_security(name: str) -> None:
    """Field by field, as the profile "restricted" of the Pod Security Standards has them."""
    for workload, spec in pods(name):
        what = workload["metadata"]["name"]
        for field in ("hostNetwork", "hostPID", "hostIPC"):
            assert not spec.get(field), what
        for volume in spec["volumes"]:
            assert set(volume) - {"name"} <= {
                *("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral"),
                *("persistentVolumeClaim", "projected", "secret"),
            }, what
        whole = spec["securityContext"]
        assert whole["runAsNonRoot"] is True
        assert whole["runAsUser"] > 0
        assert whole["seccompProfile"]["type"] in ("RuntimeDefault", "Localhost")
        assert not {"seLinuxOptions", "sysctls", "windowsOptions", "appArmorProfile"} & set(whole)
        for container in (*spec.get("initContainers", ()), *spec["containers"]):
            own = container["securityContext"]
            assert own["allowPrivilegeEscalation"] is False
            assert own["capabilities"] == {"drop": ["ALL"]}
            # Nothing else, so nothing of the pod's is taken back.
            assert set(own) == {
                *("allowPrivilegeEscalation", "capabilities", "readOnlyRootFilesystem")
            }
            assert not any("hostPort" in port for port in container.get("ports", ()))
            checks = [container.get(f"{kind}Probe", {}) for kind in ("startup", "readiness")]
            for check in (*checks, container.get("livenessProbe", {})):
                assert "host" not in check.get("httpGet", check.get("tcpSocket", {}))
    (namespace,) = of(name, "Namespace").values()
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


@every
def test_more_than_the_standard_asks_for(name: str) -> None:
    for workload, spec in pods(name):
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False
        assert spec["terminationGracePeriodSeconds"] > 0
        for container in spec["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            writable = {
                mount["mountPath"]
                for mount in container["volumeMounts"]
                if not mount.get("readOnly")
            }
            assert "/tmp" in writable
        if workload["kind"] == "Job":
            assert (workload["spec"]["backoffLimit"], spec["restartPolicy"]) == (0, "Never")
        elif workload["metadata"]["name"] != "locust-worker":
            # A worker listens nowhere.
            assert {"startupProbe", "readinessProbe"} <= set(spec["containers"][0])


@every
def test_selectors_find_the_pods_that_are_meant(name: str) -> None:
    labels = {
        one["metadata"]["name"]: one["spec"]["template"]["metadata"]["labels"]
        for one, _ in pods(name)
    }
    for one, _ in pods(name):
        if one["kind"] == "Job":
            continue
        wanted = one["spec"]["selector"]["matchLabels"].items()
        assert [part for part, its in labels.items() if wanted <= its.items()] == [
            one["metadata"]["name"]
        ]
    for service, one in of(name, "Service").items():
        wanted = one["spec"]["selector"].items()
        assert [part for part, its in labels.items() if wanted <= its.items()] == [service]
    (stateful,) = of(name, "StatefulSet").values() or [None]
    if stateful is not None:
        assert stateful["spec"]["serviceName"] in of(name, "Service")


@every
def test_ports_have_one_name_and_one_number(name: str) -> None:
    listening = {
        one["metadata"]["name"]: {
            port["name"]: port["containerPort"] for port in spec["containers"][0].get("ports", ())
        }
        for one, spec in pods(name)
    }
    for service, one in of(name, "Service").items():
        assert {port["targetPort"]: port["port"] for port in one["spec"]["ports"]} == listening[
            service
        ]
    for one, spec in pods(name):
        (container,) = spec["containers"]
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            check = container.get(probe, {})
            at = check.get("httpGet", check.get("tcpSocket"))
            assert at is None or at["port"] in listening[one["metadata"]["name"]]
        assert all(len(port) <= 15 for port in listening[one["metadata"]["name"]])


@every
def test_whatever_a_command_or_a_variable_names_is_there(name: str) -> None:
    """Each HOST:PORT is a port of a Service, so that its name resolves and somebody listens."""
    known = {
        f"{service}:{port['port']}"
        for service, one in of(name, "Service").items()
        for port in one["spec"]["ports"]
    }
    named: set[str] = set()
    config = yaml.safe_load(of(name, "ConfigMap")["otel-collector"]["data"]["config.yaml"])
    texts = [config["exporters"]["otlp"]["endpoint"]]
    for container in containers(name):
        if container["name"] not in ("kafka", "results"):
            texts += [*container.get("command", ()), *container.get("args", ())]
            texts += [one.get("value", "") for one in container.get("env", ())]
    for text in texts:
        named |= set(re.findall(r"(?<![\w.$()-])([a-z][a-z0-9-]*:\d{4,5})\b", text))
    assert named <= known, named - known
    nodes = {f"{service}:7070" for service in load(name).scenario.services}
    assert {"jaeger:16686", "otel-collector:4317", "jaeger:4317", "locust:7071"} | nodes <= named
    assert ("kafka:9092" in named) == ("kafka" in of(name, "StatefulSet"))


@every
def test_what_pods_refer_to_exists(name: str) -> None:
    for _, spec in pods(name):
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        assert len(volumes) == len(spec["volumes"])
        for volume in volumes.values():
            if "configMap" in volume:
                assert volume["configMap"]["name"] in of(name, "ConfigMap")
            if "persistentVolumeClaim" in volume:
                claim = volume["persistentVolumeClaim"]["claimName"]
                assert claim in of(name, "PersistentVolumeClaim")
        for container in (*spec.get("initContainers", ()), *spec["containers"]):
            for mount in container.get("volumeMounts", ()):
                assert mount["name"] in volumes
            for variable in container.get("env", ()):
                secret = variable.get("valueFrom", {}).get("secretKeyRef")
                if secret:
                    assert secret["key"] in of(name, "Secret")[secret["name"]]["stringData"]
            given = {variable["name"] for variable in container.get("env", ())}
            for word in (*container.get("command", ()), *container.get("args", ())):
                assert set(re.findall(r"\$\((\w+)\)", word)) <= given


_UNITS = {"m": 1e-3, "": 1.0, "Mi": 2.0**20, "Gi": 2.0**30}


def quantity(text: str) -> float:
    found = re.fullmatch(r"(\d+)([A-Za-z]*)", text)
    assert found is not None
    return int(found[1]) * _UNITS[found[2]]


@every
def test_requests_are_within_limits_and_images_pinned(name: str) -> None:
    for container in containers(name):
        requests, limits = (container["resources"][key] for key in ("requests", "limits"))
        assert set(requests) == set(limits) == {"cpu", "memory"}
        for resource, request in requests.items():
            assert 0 < quantity(request) <= quantity(limits[resource])
        tag = container["image"].rpartition(":")[2]
        assert tag
        assert tag != "latest"
        assert "/" not in tag


@every
def test_replicas_and_headless_services_of_the_scenario(name: str) -> None:
    for service, its in load(name).scenario.services.items():
        assert of(name, "Deployment")[service]["spec"]["replicas"] == its.replicas
        # Only a headless Service tells the addresses of all pods.
        assert of(name, "Service")[service]["spec"]["clusterIP"] == "None"
    assert of(name, "Deployment")["locust-worker"]["spec"]["replicas"] == 3
    assert of(name, "ConfigMap")["scenario"]["data"]["scenario.yaml"] == bundled()[name]


def test_the_network_is_the_namespace() -> None:
    (policy,) = of("chatty", "NetworkPolicy").values()
    spec = policy["spec"]
    assert spec["podSelector"] == {}
    assert set(spec["policyTypes"]) == {"Ingress", "Egress"}
    assert spec["ingress"] == [{"from": [{"podSelector": {}}]}]
    to_pods, dns = spec["egress"]
    assert to_pods == {"to": [{"podSelector": {}}]}
    assert {port["port"] for port in dns["ports"]} == {53}


def test_one_stream(hopbench: Hopbench) -> None:
    done = hopbench(*RENDER, "chatty", "--namespace", "wind", "--token", "a-known-one")
    assert done.code == 0
    found = list(yaml.safe_load_all(done.out))
    assert {one["metadata"].get("namespace", "wind") for one in found} == {"wind"}
    (secret,) = (one for one in found if one["kind"] == "Secret")
    assert secret["stringData"] == {"token": "a-known-one"}
    assert found == objects(load("chatty"), 1, Cluster(namespace="wind", token="a-known-one"))


def test_tokens_are_new_each_time() -> None:
    assert Cluster().token != Cluster().token


def test_a_directory_is_not_written_over(tmp_path: Path, hopbench: Hopbench) -> None:
    at = tmp_path / "k8s"
    assert hopbench(*RENDER, "chatty", "-o", at).code == 0
    kinds = {one["kind"].lower() for one in RENDERED["chatty"]}
    assert {file.stem for file in at.iterdir()} == kinds | {"kustomization"}
    again = hopbench(*RENDER, "chatty", "-o", at)
    assert again.code == 2
    assert "already" in again.err
    assert hopbench(*RENDER, "chatty", "-o", at, "--force").code == 0


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_kustomize_takes_the_directory_and_changes_it(tmp_path: Path, hopbench: Hopbench) -> None:
    at = tmp_path / "k8s"
    image = ("--image", "registry.example/hopbench:1")
    assert hopbench(*RENDER, "orders", "-o", at, *image).code == 0
    overlay = tmp_path / "overlay"
    overlay.mkdir()
    (overlay / "kustomization.yaml").write_text(
        "resources: [../k8s]\n"
        "namespace: other\n"
        "images: [{name: registry.example/hopbench, newName: mirror.example/hop, newTag: '2'}]\n"
    )
    plain, changed = (built(where) for where in (at, overlay))
    names = {(one["kind"], one["metadata"]["name"]) for one in RENDERED["orders"]}
    assert {(one["kind"], one["metadata"]["name"]) for one in plain} == names
    # The Namespace itself takes the new name, too.
    of_each = {
        one["metadata"]["name" if one["kind"] == "Namespace" else "namespace"] for one in changed
    }
    assert of_each == {"other"}
    used = {
        container["image"]
        for one in changed
        if "template" in one.get("spec", {})
        for container in one["spec"]["template"]["spec"]["containers"]
    }
    assert "mirror.example/hop:2" in used
    assert not any("registry.example" in image for image in used)
    for one in {shape(one): one for one in (*plain, *changed)}.values():
        kubernetes_validate.validate(one, VERSIONS[-1], strict=True)


def built(directory: Path) -> list[Object]:
    done = subprocess.run(
        ["kubectl", "kustomize", str(directory)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"namespace": "Wind_Tunnel"}, "--namespace"),
        ({"image": "hopbench"}, "--image"),
        ({"image": "registry.example:5000/hopbench"}, "--image"),
        ({"storage": "much"}, "--storage"),
        ({"token": "a b"}, "--token"),
    ],
)
def test_what_a_cluster_would_refuse(given: dict[str, str], told: str) -> None:
    with pytest.raises(BadInput, match=told):
        Cluster(**given)


def test_images_by_digest_and_with_a_registrys_port_are_fine() -> None:
    Cluster(image="registry.example:5000/team/hopbench:1.2")
    Cluster(image=f"registry.example/hopbench@sha256:{'a' * 64}")


def test_a_scenario_too_large_for_a_config_map() -> None:
    loaded = load("chatty")
    large = Loaded(
        loaded.scenario,
        loaded.text + "#" * kubernetes.MAX_CONFIG_BYTES,
        loaded.sha256,
        loaded.file,
        loaded.lines,
    )
    with pytest.raises(BadInput, match="ConfigMap"):
        objects(large, 1, Cluster())


def test_flags_of_kubernetes_are_refused_for_compose(hopbench: Hopbench) -> None:
    done = hopbench("render", "compose", "chatty", "--namespace", "wind")
    assert done.code == 2
    assert "--namespace is for Kubernetes" in done.err


def test_waiting_ends_when_somebody_listens(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        address = f"127.0.0.1:{sock.getsockname()[1]}"
        assert waiting.main([address, "--within", "20"]) == 0
    assert waiting.main([address, "--within", "0"]) == 5
    assert address in capsys.readouterr().err
