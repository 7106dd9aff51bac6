"""A :class:`~hopbench.deploy.containers.Deployment` as a Compose file (https://compose-spec.io).

Every container is hardened alike, ports are published on 127.0.0.1 alone, and only Kafka, Jaeger
and Locust have any. ``docker-compose.yml`` at the root is the same for the bundled scenarios,
written by hand; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from hopbench.deploy.containers import (
    KAFKA_OUTSIDE_PORT,
    KAFKA_PORT,
    QUERY_PORT,
    USER,
    WEB_PORT,
    Container,
    Deployment,
)
from hopbench.engines.attached.places import TOKEN_VARIABLE

Document = dict[str, Any]

JAEGER_VARIABLE: Final = "HOPBENCH_JAEGER_PORT"
LOCUST_VARIABLE: Final = "HOPBENCH_LOCUST_PORT"
KAFKA_VARIABLE: Final = "HOPBENCH_KAFKA_PORT"
IMAGE_VARIABLE: Final = "HOPBENCH_IMAGE"
ARGUMENTS_VARIABLE: Final = "HOPBENCH_ARGS"
DEFAULTS: Final[Mapping[str, str]] = {
    JAEGER_VARIABLE: str(QUERY_PORT),
    LOCUST_VARIABLE: str(WEB_PORT),
    KAFKA_VARIABLE: str(KAFKA_PORT),
    TOKEN_VARIABLE: "hopbench",
}
"""What whoever calls ``docker compose`` may set in the environment."""
SCENARIO_PATH: Final = "/scenario.yaml"
RUNS_PATH: Final = "/runs"
INSIDE: Final = "inside"
OUTSIDE: Final = "outside"


def variable(name: str) -> str:
    """For Compose to put in."""
    return f"${{{name}:-{DEFAULTS[name]}}}"


KAFKA_OUTSIDE: Final = f"127.0.0.1:{variable(KAFKA_VARIABLE)}"
JAEGER_UI: Final = f"http://127.0.0.1:{variable(JAEGER_VARIABLE)}"

# A check is a process of the host, and takes 50 ms of a core: while a run is measured, seldom.
_OFTEN: Final = {"interval": "3s", "timeout": "5s", "retries": 40}
_SELDOM: Final = {"interval": "30s", "timeout": "5s", "retries": 3}

# Kafka's user has number 1000: older engines give a mount the mode of the directory below it.
_OWN: Final = ":mode=1777,uid=1000,gid=1000"

GENERATOR_SHARES: Final = 8192
"""Of CPU time, where 1024 is everybody's: on shared cores requests leave when they are due, and the
others have what is left, which is nearly all. Without, 9 of 12 rounds of `orders` and `protocols`
were void by `lag` on two cores; with it, 3 of 12."""

# What the host reaches, by kind: the variable with its port there, and the port inside.
_PUBLISHED: Final[Mapping[str, tuple[str, int]]] = {
    "kafka": (KAFKA_VARIABLE, KAFKA_OUTSIDE_PORT),
    "jaeger": (JAEGER_VARIABLE, QUERY_PORT),
    "locust": (LOCUST_VARIABLE, WEB_PORT),
}


@dataclass(frozen=True, slots=True)
class Runs:
    """Where results go: a directory of the host, and where the bench finds it. ``working`` is the
    directory that the bench runs in, so that it names files as the caller would."""

    host: str = "./runs"
    container: str = RUNS_PATH
    working: str = "/"


def checkout() -> Path | None:
    """Where this program's Dockerfile is; None for an installed package."""
    root = Path(__file__).resolve().parents[2]
    there = (root / "Dockerfile").is_file() and (root / "pyproject.toml").is_file()
    return root if there else None


def render(deployment: Deployment, name: str, scenario: str) -> str:
    """A file that is complete: ``scenario`` is the text of the one of that ``name``."""
    made = document(
        deployment.running(SCENARIO_PATH),
        name=f"hopbench-{name}",
        scenario=scenario,
        build=checkout(),
    )
    # As in the file at the root: one string, which Compose splits after it has put this in.
    bench = made["services"][deployment.bench.name]
    bench["command"] = " ".join([*bench["command"], f"${{{ARGUMENTS_VARIABLE}:-}}"])
    return to_yaml(made, _HEAD.format(name=name))


_HEAD: Final = """\
The scenario {name} in containers, by `hopbench render compose`:

    mkdir -p runs && docker compose -f FILE up
    docker compose -f FILE up --abort-on-container-exit --exit-code-from bench      for CI
    docker compose -f FILE down -v                            removes it all; ./runs stays

Results are in ./runs, beside this file. While it is up (until Ctrl-C): Jaeger at
http://127.0.0.1:16686, Locust at http://127.0.0.1:8089; HOPBENCH_JAEGER_PORT,
HOPBENCH_LOCUST_PORT and HOPBENCH_KAFKA_PORT move the ports, HOPBENCH_ARGS has more flags.
"""


def document(
    deployment: Deployment,
    *,
    name: str,
    scenario: str | None = None,
    build: Path | None = None,
    runs: Runs | None = None,
) -> Document:
    """The file's content, in the order in which people read it.

    ``scenario`` is the text for :data:`SCENARIO_PATH` of the bench, None where its command names
    one that it has; ``build`` the checkout that our image is built from, None where it is pulled.
    """
    services: Document = {
        container.name: _service(container, runs or Runs()) for container in deployment.containers
    }
    bench = services[deployment.bench.name]
    if build is not None:
        # One builds, all use the image, which nobody publishes.
        bench["build"] = str(build)
        for container in deployment.containers:
            if container.token:
                services[container.name]["pull_policy"] = "never"
    bench["depends_on"] = {
        container.name: {"condition": _condition(container)}
        for container in deployment.containers
        if container is not deployment.bench
    }
    found: Document = {"name": name, "services": services}
    if scenario is not None:
        bench["configs"] = [{"source": "scenario", "target": SCENARIO_PATH}]
        # Compose writes such a file into the container, which it can't where all is read-only.
        bench["read_only"] = False
        found["configs"] = {"scenario": {"content": escaped(scenario)}}
    found["networks"] = {INSIDE: {"internal": True}, OUTSIDE: {}}
    return found


def escaped(text: str) -> str:
    """As Compose gives it back, which else takes every dollar for a variable."""
    return text.replace("$", "$$")


def to_yaml(document: Document, head: str = "") -> str:
    """``head`` goes before it as a comment."""
    body: str = yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=100, allow_unicode=True)
    return comment(head) + body


def comment(text: str) -> str:
    return "".join(f"# {line}".rstrip() + "\n" for line in text.splitlines())


def _condition(container: Container) -> str:
    # The bench asks the others itself until they answer, which is sooner than any check.
    return "service_healthy" if container.kind in ("kafka", "jaeger") else "service_started"


def _service(container: Container, runs: Runs) -> Document:
    bench = container.kind == "bench"
    published = _PUBLISHED.get(container.kind)
    service: Document = {"image": _image(container)}
    if container.kind in ("kafka", "jaeger"):
        # Thousands of lines, which would bury the report; `docker compose logs` has them.
        service["attach"] = False
    if bench:
        # Root, until it has seen who owns the directory for results.
        service |= {"user": "0:0", "cap_add": ["SETUID", "SETGID"]}
    elif container.token:
        service["user"] = f"{USER}:{USER}"
    if container.command:
        service["command"] = _command(container, runs)
    environment = dict(container.environment)
    if container.token:
        environment[TOKEN_VARIABLE] = variable(TOKEN_VARIABLE)
    if environment:
        service["environment"] = environment
    if published is not None:
        name, port = published
        service["ports"] = [f"127.0.0.1:{variable(name)}:{port}"]
    if bench:
        service["volumes"] = [_mount(runs)]
        service["working_dir"] = escaped(runs.working)
        service["stop_grace_period"] = "30s"  # it saves what was measured
    if container.health:
        often = container.kind in ("kafka", "jaeger")
        service["healthcheck"] = {
            "test": ["CMD", *container.health],
            **(_OFTEN if often else _SELDOM),
        }
    if container.kind == "locust-worker":
        service["scale"] = container.replicas
        service["cpu_shares"] = GENERATOR_SHARES
    return service | {
        "read_only": True,
        "tmpfs": [path if path == "/tmp" else path + _OWN for path in container.writable],
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        # Without the capability KILL, init could not signal the bench, another user's process.
        "init": not bench,
        "mem_limit": f"{container.memory_mb}m",
        "networks": [INSIDE] if published is None else [INSIDE, OUTSIDE],
    }


def _mount(runs: Runs) -> str | Document:
    host, container = escaped(runs.host), escaped(runs.container)
    if ":" in host + container:
        return {"type": "bind", "source": host, "target": container}
    return f"{host}:{container}"


def _image(container: Container) -> str:
    return f"${{{IMAGE_VARIABLE}:-{container.image}}}" if container.token else container.image


def _command(container: Container, runs: Runs) -> list[str]:
    if container.kind != "bench":
        return list(container.command)
    words = [
        "python",
        "-m",
        "hopbench.deploy.inside.owner",
        runs.container,
        "--",
        *container.command,
    ]
    return [*map(escaped, words), "--jaeger-ui", JAEGER_UI]


class _Dumper(yaml.SafeDumper):
    """Text of several lines as it is, no aliases, lists indented."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)
