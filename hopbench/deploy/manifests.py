"""Objects of Kubernetes as text: one stream, or a directory for ``kubectl apply -k``. ``scenario``
is the name of the one that they run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from hopbench.deploy.compose_file import comment, to_yaml
from hopbench.deploy.containers import Deployment
from hopbench.deploy.kubernetes import Cluster
from hopbench.deploy.pods import Object
from services.errors import BadInput

KUSTOMIZATION: Final = "kustomization.yaml"
_HEAD: Final = """\
The scenario {name} on Kubernetes, by `hopbench render kubernetes`:

    kubectl apply --server-side {apply}
    kubectl -n {namespace} logs -f job/bench
    kubectl -n {namespace} scale deployment/results --replicas 1       once the job has ended
    kubectl -n {namespace} port-forward deployment/results 8000        http://127.0.0.1:8000
    kubectl delete namespace {namespace}

The image {image} must be one that the cluster can pull.
"""


def stream(
    objects: Sequence[Object], deployment: Deployment, cluster: Cluster, scenario: str
) -> str:
    """All in one text of several documents."""
    return comment(_head(deployment, cluster, scenario, "-f FILE")) + _documents(objects)


def files(
    objects: Sequence[Object], deployment: Deployment, cluster: Cluster, scenario: str
) -> dict[str, str]:
    """Name → text: a file for each kind, and what kustomize reads first."""
    kinds = dict.fromkeys(one["kind"] for one in objects)
    found = {
        f"{kind.lower()}.yaml": _documents([one for one in objects if one["kind"] == kind])
        for kind in kinds
    }
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": cluster.namespace,
        "resources": list(found),
        "labels": [
            {
                "pairs": {"app.kubernetes.io/managed-by": "kustomize"},
                "includeSelectors": False,
                "includeTemplates": True,
            }
        ],
        "images": [_image(deployment.bench.image)],
    }
    head = _head(deployment, cluster, scenario, "-k DIRECTORY")
    return {KUSTOMIZATION: to_yaml(kustomization, head), **found}


def write(directory: Path, texts: dict[str, str], *, force: bool) -> None:
    """Raises BadInput, before anything is written where a file is there already (unless forced)."""
    there = [name for name in texts if (directory / name).exists()]
    if there and not force:
        raise BadInput(f"has a {there[0]} already", str(directory), hint="--force overwrites it")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (directory / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadInput(f"cannot be written: {error.strerror}", str(directory)) from None


def _head(deployment: Deployment, cluster: Cluster, scenario: str, apply: str) -> str:
    return _HEAD.format(
        name=scenario, apply=apply, namespace=cluster.namespace, image=deployment.bench.image
    )


def _documents(objects: Sequence[Object]) -> str:
    return "".join(f"---\n{to_yaml(one)}" for one in objects)


def _image(image: str) -> Object:
    """Where another one is put in."""
    name, at, digest = image.partition("@")
    if at:
        return {"name": name, "newName": name, "digest": digest}
    name, _, tag = image.rpartition(":")
    return {"name": name, "newName": name, "newTag": tag}
