"""``hopbench run FILE --engine compose`` on a host: containers come up, the bench in one of them
runs with the very flags that were given, and all are removed at the end.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from subprocess import DEVNULL, Popen
from time import monotonic
from typing import Final
from urllib.parse import urlsplit

from hopbench.deploy import compose_file, docker
from hopbench.deploy.compose_file import Runs
from hopbench.deploy.containers import KAFKA_PORT, QUERY_PORT, WEB_PORT, Deployment, own_image
from hopbench.deploy.docker import Project
from hopbench.deploy.preparation import Prepared
from hopbench.engines.attached.places import TOKEN_VARIABLE
from hopbench.exits import Exit, Terminated, worst
from hopbench.front.output import STDOUT, Output, write
from hopbench.host.awake import awake
from hopbench.host.memory import available_mb
from hopbench.host.ports import taken
from hopbench.runs import directory as rundir
from hopbench.runs import fits
from services.errors import CannotStart

PREFIX: Final = "hopbench-run-"
WORKING: Final = "/here"
_DOCUMENT: Final = ".document.json"
"""In the run directory, where the bench can write it, until it goes to ``--json FILE``."""
_UP_S: Final = 180.0
_DOWN_S: Final = 90.0
_BUILD_S: Final = 1800.0


@dataclass(frozen=True, slots=True)
class Order:
    """``flags`` are those of ``hopbench run`` that the bench is to be given as they are; ``text``
    is the scenario's, None where ``resumed`` names a run directory that has one."""

    prepared: Prepared
    deployment: Deployment
    """What comes up for it."""
    text: str | None
    flags: tuple[str, ...]
    resumed: Path | None
    out: Path | None
    keep: bool
    output: Output

    @property
    def web(self) -> int | None:
        return self.prepared.plan.settings.web_port


def drive(order: Order) -> Exit:
    """The bench's exit code. Raises CannotStart, and BadInput where the memory does not suffice."""
    total_mb = docker.memory_mb()
    _earlier(order.output)
    if order.web and (why := taken(order.web)) is not None:
        raise CannotStart("locust", why, hint="--web takes another port")
    # The daemon may be in a virtual machine with less, or elsewhere with more than this machine.
    free_mb = min(available_mb(), total_mb)
    fits.memory(order.prepared.memory_mb, "in its containers", free_mb)
    with tempfile.TemporaryDirectory(
        prefix="hopbench-compose-", ignore_cleanup_errors=True
    ) as temporary:
        directory = order.resumed or _reserved(order)
        file = Path(temporary) / "compose.yaml"
        try:
            code, left = _driven(order, directory, file)
        except BaseException:
            _abandon(directory, order)
            raise
        finally:
            with suppress(OSError):
                if any(directory.iterdir()):
                    shutil.copyfile(file, directory / "compose.yaml")
    return worst([left, _ended(code, directory, order)])


def _driven(order: Order, directory: Path, file: Path) -> tuple[int, Exit]:
    """The bench's exit code, and that of the removal of its containers. ``file`` is written."""
    deployment = order.deployment.running(*_arguments(order, directory), *order.flags)
    name = f"{PREFIX}{secrets.token_hex(4)}"
    document = compose_file.document(
        deployment,
        name=name,
        scenario=order.text,
        build=compose_file.checkout(),
        runs=mounted(directory),
    )
    head = f"{docker.removal(name)}\nremoves what is left of it."
    file.write_text(compose_file.to_yaml(document, head), encoding="utf-8")
    ports = _ports(order)
    image = {compose_file.IMAGE_VARIABLE: deployment.bench.image}
    token = {TOKEN_VARIABLE: secrets.token_urlsafe()}
    project = Project(name, str(file), {**image, **ports, **token})
    _images(deployment, project, order.output)
    left = Exit.DONE
    try:
        _up(project, deployment, order.output)
        with awake():  # the bench cannot, in its container
            code = _bench(project)
    finally:
        left = _leave(project, ports, order)
    return code, left


def _arguments(order: Order, directory: Path) -> tuple[str, ...]:
    """What the bench is to run, and where it leaves what it finds."""
    what: tuple[str, ...] = (
        ("--resume", shown(directory))
        if order.resumed is not None
        else (compose_file.SCENARIO_PATH, "--out", shown(directory))
    )
    json = order.output.json
    if json is None:
        return what
    target = json if json == STDOUT else f"{mounted(directory).container}/{_DOCUMENT}"
    return (*what, "--json", target)


def mounted(directory: Path) -> Runs:
    """The run directory at the same place in the container, seen from where the bench runs."""
    absolute = directory.resolve()
    inside = directory if not directory.is_absolute() and ".." not in directory.parts else absolute
    return Runs(str(absolute), str(Path(WORKING) / inside), WORKING)


def shown(directory: Path) -> str:
    """How the bench is told of it, and tells of it: as the caller can open it."""
    return str(directory.resolve() if ".." in directory.parts else directory)


def _reserved(order: Order) -> Path:
    """A new run directory, still empty. Raises BadInput."""
    run = rundir.create(order.prepared.plan.scenario.name, datetime.now(), order.out)
    run.trials.rmdir()
    return run.path


def _abandon(directory: Path, order: Order) -> None:
    if order.resumed is None:
        # Only where nothing came to lie in it.
        with suppress(OSError):
            directory.rmdir()


def _earlier(output: Output) -> None:
    """A bench that was killed has left its containers: nobody else removes them."""
    for name in docker.projects(PREFIX):
        output.note(f"there are containers of another run; if it has ended: {docker.removal(name)}")


def _ports(order: Order) -> dict[str, str]:
    """For what is published on the host: the usual port of each, or else a free one."""
    links = urlsplit(order.prepared.plan.settings.jaeger_ui or "").port

    def free(usual: int) -> int:
        if taken(usual) is None:
            return usual
        with socket.create_server(("127.0.0.1", 0)) as sock:
            port: int = sock.getsockname()[1]
        return port

    return {
        compose_file.JAEGER_VARIABLE: str(free(links or QUERY_PORT)),
        compose_file.LOCUST_VARIABLE: str(order.web or free(WEB_PORT)),
        compose_file.KAFKA_VARIABLE: str(free(KAFKA_PORT)),
    }


def _images(deployment: Deployment, project: Project, output: Output) -> None:
    """Build or pull what is missing. Raises CannotStart."""
    ours = deployment.bench.image
    for image in dict.fromkeys(container.image for container in deployment.containers):
        if docker.have(image):
            continue
        if image != ours:
            output.note(f"pulling {image}")
            with output.working("docker pull"):
                docker.pull(image)
        elif image == own_image() and compose_file.checkout() is not None:
            output.note(f"building {image}, once; this takes a minute or two")
            with output.working("docker compose build"):
                project.do(f"image {image}", "build", deployment.bench.name, bound_s=_BUILD_S)
        else:
            raise CannotStart(
                f"image {image}",
                "is not here",
                hint=f"build it in a checkout of hopbench: docker build -t {image} .",
            )


def _up(project: Project, deployment: Deployment, output: Output) -> None:
    others = [c for c in deployment.containers if c is not deployment.bench]
    output.note(f"starting {sum(c.count for c in others)} containers, project {project.name}")
    up = ("--progress", "plain", "up", "-d", "--no-build", "--pull", "never", "--no-deps")
    # The bench waits for the rest itself.
    checked = [c.name for c in others if c.kind in ("kafka", "jaeger")]
    began = monotonic()
    with output.working("waiting for them"):
        project.do("docker compose up", *up, *(c.name for c in others), bound_s=_UP_S)
        project.do("docker compose up", *up, "--wait", *checked, bound_s=_UP_S)
    output.note(f"they are up after {monotonic() - began:.0f} s; the bench starts")


def _bench(project: Project) -> int:
    """Its exit code; what it says goes to where ours does. Ctrl-C and SIGTERM are passed on to it:
    it saves what was measured."""
    command = project.command("--progress", "quiet", "run", "--rm", "-T", "--no-deps")
    for name, text in _terminal().items():
        command += ["-e", f"{name}={text}"]
    # Deaf to the terminal, which would interrupt docker, too.
    bench = Popen(
        [*command, "bench"], stdin=DEVNULL, env=project.variables(), start_new_session=True
    )
    asked: Exit | None = None
    while True:
        try:
            code = bench.wait()
        except (KeyboardInterrupt, Terminated) as stop:
            number = "INT" if isinstance(stop, KeyboardInterrupt) else "TERM"
            try:
                told = docker.signal(project.name, "bench", number if asked is None else "KILL")
            except CannotStart:
                told = False
            asked = Exit.INTERRUPTED if number == "INT" else Exit.TERMINATED
            if not told:
                bench.kill()
        else:
            return code if asked is None else int(asked)


def _terminal() -> dict[str, str]:
    """Width and colours, which the bench cannot ask for through a pipe."""
    if not (sys.stdout.isatty() and sys.stderr.isatty()):
        return {}
    told = {"COLUMNS": str(shutil.get_terminal_size().columns), "FORCE_COLOR": "1"}
    return told | {name: os.environ[name] for name in ("TERM", "COLORTERM") if name in os.environ}


def _leave(project: Project, ports: dict[str, str], order: Order) -> Exit:
    """Remove containers and networks, unless they are kept. BROKEN where that fails, which is told
    here: whatever went wrong before is still what ends the run."""
    output = order.output
    if order.keep:
        output.note(f"Jaeger: http://127.0.0.1:{ports[compose_file.JAEGER_VARIABLE]}")
        output.note(f"Locust: http://127.0.0.1:{ports[compose_file.LOCUST_VARIABLE]}")
        output.note(f"to remove it all: {docker.removal(project.name)}")
        return Exit.DONE
    stops = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in stops}
    try:
        down = ("down", "-v", "--remove-orphans", "--timeout", "2")
        project.do("docker compose down", *down, bound_s=_DOWN_S)
    except CannotStart as error:
        output.reason(f"{error}\n  what is left goes by: {docker.removal(project.name)}")
        return Exit.BROKEN
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return Exit.DONE


def _ended(code: int, directory: Path, order: Order) -> Exit:
    json = order.output.json
    document = directory / _DOCUMENT
    if json is not None and document.is_file():
        write(json, document.read_bytes())
        document.unlink()
    begun = rundir.RunDir(directory).plan.is_file()
    if not begun:
        _abandon(directory, order)
    if code not in set(Exit) or (code == Exit.FAILED and not begun):
        # Docker's own code, not the bench's.
        raise CannotStart("bench", f"its container ended with {code}")
    return Exit(code)
