"""From a scenario to what runs it on Kubernetes: ``hopbench render kubernetes``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from hopbench.deploy import kubernetes, kustomize
from hopbench.deploy.containers import QUERY_PORT
from hopbench.deploy.deployment import default_plan, deployment_of
from hopbench.deploy.kubernetes import Cluster
from hopbench.deploy.pods import Object
from hopbench.front.output import STDOUT, Output
from hopbench.runs.estimate import estimate
from services.scenario.file.parser import Loaded

_HEAD: Final = """\
The scenario {name} on Kubernetes, by `hopbench render kubernetes`:

    kubectl apply --server-side {apply}
    kubectl -n {namespace} logs -f job/bench
    kubectl -n {namespace} scale deployment/results --replicas 1       once the job has ended
    kubectl -n {namespace} port-forward deployment/results 8000        http://127.0.0.1:8000
    kubectl delete namespace {namespace}

The image {image} must be one that the cluster can pull.
"""


def objects(loaded: Loaded, workers: int, cluster: Cluster) -> list[Object]:
    """A round of each variant of ``loaded``, on a cluster. Raises BadInput."""
    planned = default_plan(loaded, "kubernetes", workers)
    arguments = [kubernetes.SCENARIO_PATH, "--jaeger-ui", f"http://127.0.0.1:{QUERY_PORT}"]
    if workers > 1:
        # A round then waits for all of them.
        arguments += ["--workers", str(workers)]
    deployment = deployment_of(planned, estimate(planned), tuple(arguments), cluster.image)
    return kubernetes.objects(deployment, loaded.text, cluster)


def render(loaded: Loaded, workers: int, cluster: Cluster, out: str, *, force: bool) -> None:
    """To standard output, or into the directory ``out``. Raises BadInput."""
    made = objects(loaded, workers, cluster)
    image = next(_images(one) for one in made if one["kind"] == "Job")
    head = {"name": loaded.scenario.name, "namespace": cluster.namespace, "image": image}
    if out == STDOUT:
        sys.stdout.write(kustomize.stream(made, _HEAD.format(apply="-f FILE", **head)))
        return
    comment = _HEAD.format(apply="-k DIRECTORY", **head)
    texts = kustomize.files(made, cluster.namespace, image, comment)
    kustomize.write(Path(out), texts, force=force)
    Output().note(f"wrote {len(texts)} files; try: kubectl apply --server-side -k {out}")


def _images(job: Object) -> str:
    return str(job["spec"]["template"]["spec"]["containers"][0]["image"])
