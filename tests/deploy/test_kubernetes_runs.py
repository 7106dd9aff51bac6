"""The commands and the environment of rendered pods, as processes of this machine."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from hopbench.deploy import kubernetes
from hopbench.deploy.kubernetes import Cluster
from hopbench.deploy.preparation import by_default
from services.scenario.file.parser import bundled, load
from tests.deploy import kubelet
from tests.deploy.forwarder import Forwarder

IMAGE = "registry.example/hopbench:test"
KAFKA = os.environ.get("HOPBENCH_TEST_KAFKA")
JAEGER = os.environ.get("HOPBENCH_TEST_JAEGER")
JAEGER_OTLP = os.environ.get("HOPBENCH_TEST_JAEGER_OTLP")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture(autouse=True)
def _namespaces() -> None:
    if why := kubelet.namespaces_refused():
        pytest.skip(f"no namespaces here: {why}")


@pytest.fixture
def forwarder() -> Iterator[Forwarder]:
    made = Forwarder()
    yield made
    made.close()


def rendered(
    directory: Path, name: str, replicas: dict[str, int], processes: int | None = None
) -> list[dict[str, Any]]:
    """A short baseline of a bundled scenario, with two Locust workers."""
    scenario = yaml.safe_load(bundled()[name])
    scenario["load"] |= {"rate": "30/s", "duration": "3s", "warmup": "500ms"}
    scenario.pop("variants", None)
    for service, count in replicas.items():
        scenario["services"][service]["replicas"] = count
    if processes is not None:
        scenario["processes"] = processes
    file = directory / "short.yaml"
    file.write_text(yaml.safe_dump(scenario, sort_keys=False))
    loaded = load(str(file))
    made = by_default(loaded, "kubernetes", 2, IMAGE)
    return kubernetes.objects(made, loaded.text, Cluster(image=IMAGE))


def summary(directory: Path) -> dict[str, Any]:
    """What the bench has left on its volume claim."""
    (found,) = (directory / "claims" / "runs").glob("*/summary.json")
    document: dict[str, Any] = json.loads(found.read_text())
    return document


def kinds(found: dict[str, Any]) -> set[str]:
    """Of the findings in the only variant."""
    (baseline,) = found["variants"]
    return {finding["kind"] for finding in baseline["findings"]}


def said(directory: Path) -> str:
    return "\n".join(
        f"== {log.parent.name}\n{log.read_text()[-3000:]}" for log in directory.glob("*/log")
    )


def without_jaeger(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The bench keeps the traces itself; nothing else of any pod is changed."""
    job = next(one for one in objects if one["kind"] == "Job")
    spec = job["spec"]["template"]["spec"]
    del spec["initContainers"]
    command = spec["containers"][0]["command"]
    for flag in ("--jaeger", "--jaeger-otlp", "--jaeger-ui"):
        at = command.index(flag)
        del command[at : at + 2]
    return objects


def test_nodes_locust_and_bench_run_as_rendered(tmp_path: Path) -> None:
    objects = without_jaeger(rendered(tmp_path, "chatty", {"inventory": 2}))
    at = tmp_path / "kubelet"
    report = kubelet.run(at, kubelet.Plan(objects, IMAGE))
    assert report["job"] == 0, said(at)
    assert report["died"] == {}, said(at)
    assert set(report["ended"].values()) == {0}, report
    assert {"inventory-0", "inventory-1", "locust-0", "locust-worker-1"} <= set(report["ready"])
    found = summary(at)
    assert (found["engine"], found["trace_store"]) == ("kubernetes", "embedded")
    assert "chatty.sequential" in kinds(found)


def test_packed_services_run_as_rendered(tmp_path: Path) -> None:
    """A pack is one pod, and has more replicas than it has addresses."""
    objects = without_jaeger(rendered(tmp_path, "chatty", {"inventory": 4}, processes=2))
    at = tmp_path / "kubelet"
    report = kubelet.run(at, kubelet.Plan(objects, IMAGE))
    assert report["job"] == 0, said(at)
    assert {"pack-0-0", "pack-1-0"} <= set(report["ready"])
    assert "chatty.sequential" in kinds(summary(at))


@pytest.mark.real
@pytest.mark.parametrize("name", ["chatty", "orders"])
def test_with_real_jaeger_and_kafka(tmp_path: Path, name: str, forwarder: Forwarder) -> None:
    if JAEGER is None or JAEGER_OTLP is None:
        pytest.skip("HOPBENCH_TEST_JAEGER and HOPBENCH_TEST_JAEGER_OTLP name no Jaeger")
    to = {
        "jaeger:16686": urlsplit(JAEGER).netloc,
        "jaeger:4317": JAEGER_OTLP,
        "otel-collector:4317": JAEGER_OTLP,
    }
    if name == "orders":
        if KAFKA is None:
            pytest.skip("HOPBENCH_TEST_KAFKA names no Kafka")
        # Clients are sent on to the address that the broker advertises.
        to |= {"kafka:9092": KAFKA, f"127.0.0.1:{KAFKA.rpartition(':')[2]}": KAFKA}
    forwards = {}
    for number, (there, real) in enumerate(to.items()):
        forwards[there] = str(tmp_path / f"{number}.sock")
        forwarder.add(forwards[there], real)
    at = tmp_path / "kubelet"
    plan = kubelet.Plan(rendered(tmp_path, name, {}), IMAGE, forwards, within_s=150)
    report = kubelet.run(at, plan)
    assert report["job"] == 0, said(at)
    assert report["died"] == {}, said(at)
    found = summary(at)
    assert (found["engine"], found["trace_store"]) == ("kubernetes", "jaeger")
    assert found["broker"] == ("kafka" if name == "orders" else None)
    assert kinds(found)
