"""Objects of Kubernetes as text: one stream, or a directory for ``kubectl apply -k``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from hopbench.deploy.compose import to_yaml
from hopbench.deploy.pods import Object
from services.errors import BadInput

KUSTOMIZATION: Final = "kustomization.yaml"


def stream(objects: Sequence[Object], comment: str) -> str:
    """All objects in one text of several documents, ``comment`` before it."""
    head = "".join(f"# {line}".rstrip() + "\n" for line in comment.splitlines())
    return head + "".join(f"---\n{to_yaml(one, '').lstrip()}" for one in objects)


def files(objects: Sequence[Object], namespace: str, image: str, comment: str) -> dict[str, str]:
    """Name → text: a file for each kind, and what kustomize reads first. ``image`` is ours."""
    kinds = dict.fromkeys(one["kind"] for one in objects)
    found = {
        f"{kind.lower()}.yaml": stream([one for one in objects if one["kind"] == kind], "")
        for kind in kinds
    }
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": namespace,
        "resources": list(found),
        "labels": [
            {
                "pairs": {"app.kubernetes.io/managed-by": "kustomize"},
                "includeSelectors": False,
                "includeTemplates": True,
            }
        ],
        "images": [_image(image)],
    }
    return {KUSTOMIZATION: to_yaml(kustomization, comment), **found}


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


def _image(image: str) -> Object:
    """Where another one is put in."""
    name, at, digest = image.partition("@")
    if at:
        return {"name": name, "newName": name, "digest": digest}
    name, _, tag = image.rpartition(":")
    return {"name": name, "newName": name, "newTag": tag}
