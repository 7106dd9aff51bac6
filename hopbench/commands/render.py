"""``hopbench render``: a scenario's parts as containers, for Compose or Kubernetes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from hopbench.commands.init import write_new
from hopbench.deploy import compose_file, kubernetes, manifests
from hopbench.deploy.kubernetes import Cluster
from hopbench.deploy.preparation import by_default
from hopbench.exits import Exit
from hopbench.front import options
from hopbench.front.output import STDOUT, Output
from hopbench.front.settings import one_of
from services.errors import BadInput
from services.scenario.file.parser import Loaded, load

COMPOSE: Final = "compose"
KUBERNETES: Final = "kubernetes"


def command(
    kind: Annotated[
        str, typer.Argument(metavar="compose|kubernetes", help="For what.", show_default=False)
    ],
    scenario: options.Scenario,
    *,
    file: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Default: standard output. For Kubernetes a directory, for `kubectl apply -k`.",
        ),
    ] = STDOUT,
    workers: options.Workers = 1,
    image: Annotated[
        str | None,
        typer.Option("--image", metavar="NAME:TAG", help="Our image as the cluster pulls it."),
    ] = None,
    namespace: Annotated[
        str | None, typer.Option("--namespace", metavar="NAME", help="Default: hopbench.")
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option("--storage", metavar="2Gi", help="Size of the volume for run directories."),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option("--token", metavar="TEXT", help="Secret of all parts; default: a new one."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite existing files.")] = False,
) -> Exit:
    """Write all parts that a scenario needs: its services, Kafka, Jaeger, Locust and the bench.

    What is written is complete: the scenario is in it, and it runs by `docker compose up`, or
    `kubectl apply`. --image, --namespace, --storage and --token are for Kubernetes.
    """
    own = {"image": image, "namespace": namespace, "storage": storage, "token": token}
    given = {name: text for name, text in own.items() if text is not None}
    if one_of("render", kind, (COMPOSE, KUBERNETES)) == KUBERNETES:
        return _kubernetes(load(scenario), workers, Cluster(**given), file, force=force)
    if given:
        raise BadInput(
            f"--{next(iter(given))} is for Kubernetes",
            hint="in Compose, HOPBENCH_IMAGE and HOPBENCH_TOKEN say it when it runs",
        )
    loaded = load(scenario)
    text = compose_file.render(
        by_default(loaded, "compose", workers), loaded.scenario.name, loaded.text
    )
    if file == STDOUT:
        sys.stdout.write(text)
        return Exit.DONE
    write_new(Path(file), text, force=force)
    Output().note(f"wrote {file}; try: mkdir -p runs && docker compose -f {file} up")
    return Exit.DONE


def _kubernetes(loaded: Loaded, workers: int, cluster: Cluster, file: str, *, force: bool) -> Exit:
    deployment = by_default(loaded, "kubernetes", workers, cluster.image)
    objects = kubernetes.objects(deployment, loaded.text, cluster)
    if file == STDOUT:
        sys.stdout.write(manifests.stream(objects, deployment, cluster, loaded.scenario.name))
        return Exit.DONE
    texts = manifests.files(objects, deployment, cluster, loaded.scenario.name)
    manifests.write(Path(file), texts, force=force)
    Output().note(f"wrote {len(texts)} files; try: kubectl apply --server-side -k {file}")
    return Exit.DONE
