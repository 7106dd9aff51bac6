"""Everything in real containers: the file at the root, and `hopbench run --engine compose`.

make test-real          where `docker info` answers and the images are there
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, build_opener

import orjson
import psutil
import pytest

from hopbench.deploy.containers import JAEGER_IMAGE, KAFKA_IMAGE

ROOT = Path(__file__).parents[2]
IMAGE = "hopbench:under-test"
SHORT = ("--duration", "4s", "--warmup", "1s")
OWNER = (4321, 8765)

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]


def docker(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["docker", *arguments], capture_output=True, text=True, timeout=540, check=False
    )


@pytest.fixture(scope="module")
def image() -> str:
    """Built from the checkout as it is."""
    if shutil.which("docker") is None or docker("info").returncode:
        pytest.skip("no Docker answers")
    for name in ("python:3.12-slim", KAFKA_IMAGE, JAEGER_IMAGE):
        if docker("image", "inspect", name).returncode:
            pytest.skip(f"the image {name} is not here: docker pull {name}")
    built = docker("build", "-q", "-t", IMAGE, str(ROOT))
    assert built.returncode == 0, built.stderr
    return IMAGE


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
    return port


def of_project(kind: str, project: str) -> list[str]:
    """Containers, networks or volumes of it."""
    every = ["-a"] if kind == "container" else []
    label = f"--filter=label=com.docker.compose.project={project}"
    return docker(kind, "ls", "-q", *every, label).stdout.split()


class Project:
    """The file at the root, as a project of its own: other ports, another ./runs."""

    def __init__(self, directory: Path, **environment: str) -> None:
        self.directory = directory
        self.name = f"hopbench-test-{secrets.token_hex(4)}"
        self.ports = {name: free_port() for name in ("KAFKA", "JAEGER", "LOCUST")}
        self.runs = directory / "runs"
        self.runs.mkdir()
        if os.getuid() == 0:
            os.chown(self.runs, *OWNER)
        ports = {f"HOPBENCH_{name}_PORT": str(port) for name, port in self.ports.items()}
        self.environment = {**os.environ, "HOPBENCH_IMAGE": IMAGE, **ports, **environment}
        self.command = ["docker", "compose", "-p", self.name, "--project-directory", str(directory)]
        self.command += ["-f", str(ROOT / "docker-compose.yml")]

    def compose(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.command, *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=540,
            check=False,
        )

    def summary(self) -> dict[str, Any]:
        (run,) = self.runs.iterdir()
        found: dict[str, Any] = orjson.loads((run / "summary.json").read_bytes())
        return found

    def close(self) -> None:
        down = self.compose("down", "-v", "--timeout", "2")
        assert down.returncode == 0, down.stderr
        for kind in ("container", "network", "volume"):
            assert of_project(kind, self.name) == []


@pytest.fixture
def project(tmp_path: Path, image: str) -> Iterator[Callable[..., Project]]:
    made: list[Project] = []

    def make(scenario: str, *arguments: str) -> Project:
        text = " ".join([*SHORT, *arguments])
        made.append(Project(tmp_path, SCENARIO=scenario, HOPBENCH_ARGS=text))
        return made[-1]

    yield make
    for one in made:
        one.close()


def whole(summary: dict[str, Any], broker: str | None) -> None:
    assert summary["trace_store"] == "jaeger"
    assert summary["broker"] == broker
    for trial in summary["trials"]:
        assert trial["spans"]["lost"] == 0
        assert trial["spans"]["received"] == trial["spans"]["by_scenario"]
    for variant in summary["variants"]:
        assert all(expectation["met"] for expectation in variant["expectations"])


def test_up_gives_the_exit_code_of_the_bench(project: Callable[..., Project]) -> None:
    # Known whatever the machine is worth: containers that share two cores are often void.
    here = project("chatty", "--fail-on", "'rounds > 0'")
    up = here.compose("up", "--abort-on-container-exit", "--exit-code-from", "bench")
    assert up.returncode == 1, up.stdout + up.stderr
    assert "Variants side by side" in up.stdout
    (run,) = here.runs.iterdir()
    assert f"report: runs/{run.name}/report.html" in up.stdout
    whole(here.summary(), None)


def test_up_leaves_pages_and_results(project: Callable[..., Project]) -> None:
    here = project("orders")
    log = here.directory / "up.log"
    with log.open("wb") as output:
        up = subprocess.Popen(
            [*here.command, "up", "--scale", "locust-worker=2"],
            env=here.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        until(lambda: "exited with code" in log.read_text(), 400)
        assert "bench-1 exited with code 0" in log.read_text()
        whole(here.summary(), "kafka")
        if os.getuid() == 0:
            for path in here.runs.rglob("*"):
                found = path.stat()
                assert (found.st_uid, found.st_gid) == OWNER, path
        _reached(here)
    finally:
        up.send_signal(signal.SIGINT)
        up.wait(120)
    assert docker("ps", "-q", f"--filter=label=com.docker.compose.project={here.name}").stdout == ""


def _reached(here: Project) -> None:
    """Jaeger and Locust by their pages, Kafka by its topics; all on loopback alone."""
    opener = build_opener(ProxyHandler({}))
    services = f"http://127.0.0.1:{here.ports['JAEGER']}/api/services"
    with opener.open(services, timeout=10) as answer:
        assert {"gateway", "order", "notify"} <= set(orjson.loads(answer.read())["data"])
    with opener.open(f"http://127.0.0.1:{here.ports['LOCUST']}/stats/requests") as answer:
        stats = orjson.loads(answer.read())
    assert any(entry["num_requests"] for entry in stats["stats"])
    topics = _topics(f"127.0.0.1:{here.ports['KAFKA']}")
    for event in ("order.placed", "notify.customer"):
        assert any(event in topic for topic in topics), topics
    others = {
        address.address
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
        if address.family == socket.AF_INET and not address.address.startswith("127.")
    }
    for port in here.ports.values():
        for address in others:
            with pytest.raises(OSError, match=r"refused|timed out|unreachable|No route"):
                socket.create_connection((address, port), 2).close()


def _topics(address: str) -> set[str]:
    from confluent_kafka.admin import AdminClient  # noqa: PLC0415

    found: set[str] = set(
        AdminClient({"bootstrap.servers": address}).list_topics(timeout=10).topics
    )
    return found


def until(condition: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.2)


class Driven:
    """``hopbench run --engine compose`` as a process."""

    def __init__(self, directory: Path, scenario: str, *flags: str) -> None:
        self.out = directory / "out"
        self._err = directory / "err"
        command = [sys.executable, "-m", "hopbench", "run", scenario, "--engine", "compose"]
        with self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [*command, "--out", str(self.out), *flags],
                env={**os.environ, "HOPBENCH_IMAGE": IMAGE},
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=err,
                text=True,
            )
        self.said = ""

    @property
    def err(self) -> str:
        return self._err.read_text()

    @property
    def project(self) -> str:
        (found,) = re.findall(r"starting \d+ containers, project (\S+)", self.err)
        return str(found)

    def measuring(self) -> None:
        """Wait until services answer requests: the collector has their metrics."""
        until(
            lambda: (
                any(path.stat().st_size for path in self.out.glob("trials/*/metrics.otlp"))
                or self.process.poll() is not None
            ),
            200,
        )
        assert self.process.poll() is None, self.err

    def ended(self) -> int:
        self.said, _ = self.process.communicate(timeout=300)
        return self.process.returncode

    def kill(self, service: str) -> None:
        label = "label=com.docker.compose"
        (container,) = docker(
            *("ps", "-q", f"--filter={label}.service={service}"),
            f"--filter={label}.project={self.project}",
        ).stdout.split()
        assert docker("kill", container).returncode == 0

    def left(self) -> list[str]:
        return [
            found
            for kind in ("container", "network", "volume")
            for found in of_project(kind, self.project)
        ]


@pytest.mark.usefixtures("image")
def test_run_does_it_all(tmp_path: Path) -> None:
    run = Driven(tmp_path, "chatty", *SHORT, "--workers", "2", "--json", "-")
    assert run.ended() == 0, run.err
    assert re.search(r"they are up after \d+ s; the bench starts", run.err)
    summary = orjson.loads(run.said)
    whole(summary, None)
    assert summary["run_dir"] == str(run.out)
    assert run.left() == []
    owner = run.out.stat().st_uid
    assert {path.stat().st_uid for path in run.out.rglob("*")} == {owner}
    assert (run.out / "compose.yaml").is_file()
    assert "token" not in (run.out / "compose.yaml").read_text().replace("HOPBENCH_TOKEN", "")


@pytest.mark.usefixtures("image")
def test_an_interrupted_run_keeps_what_it_measured(tmp_path: Path) -> None:
    run = Driven(tmp_path, "chatty", "--duration", "60s", "--warmup", "1s")
    run.measuring()
    run.process.send_signal(signal.SIGINT)
    assert run.ended() == 130, run.err
    assert run.left() == []
    assert f"hopbench run --resume {run.out}" in run.err
    assert (run.out / "summary.json").is_file()


@pytest.mark.usefixtures("image")
@pytest.mark.parametrize(
    ("service", "told"),
    [("inventory", "inventory"), ("locust-worker", "worker"), ("jaeger", "jaeger")],
)
def test_a_container_that_dies_is_told(tmp_path: Path, service: str, told: str) -> None:
    run = Driven(tmp_path, "chatty", "--duration", "40s", "--warmup", "1s", "--variant", "baseline")
    run.measuring()
    run.kill(service)
    assert run.ended() == 5, run.err
    error = next(line for line in run.err.splitlines() if line.startswith("error:"))
    assert told in error
    assert "Traceback" not in run.err
    assert run.left() == []
