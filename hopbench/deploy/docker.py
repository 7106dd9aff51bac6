"""The `docker` command as this program uses it, and what is told where it cannot be used."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from shutil import which
from signal import SIGKILL
from subprocess import DEVNULL, PIPE, CompletedProcess, Popen, TimeoutExpired
from typing import Any, Final

from services.errors import CannotStart

PART: Final = "docker"
INSTALL: Final = "docs.docker.com/engine/install; --engine local needs none of it"
_ANSWER_S: Final = 20.0
_PULL_S: Final = 1800.0
_TAIL: Final = 12
"""Lines of what a command said that failed."""


@dataclass(frozen=True, slots=True)
class Project:
    """One Compose project, whose file is at ``file``. ``environment`` is put into it."""

    name: str
    file: str
    environment: Mapping[str, str]

    def command(self, *arguments: str) -> list[str]:
        return ["docker", "compose", "-p", self.name, "-f", self.file, *arguments]

    def variables(self) -> dict[str, str]:
        """Of the process that runs :meth:`command`. Settings of the caller's own projects
        (COMPOSE_…) are left out."""
        own = {k: v for k, v in os.environ.items() if not k.startswith("COMPOSE_")}
        return {**own, **self.environment, "COMPOSE_MENU": "0"}

    def do(self, what: str, *arguments: str, bound_s: float) -> None:
        """Run ``what`` to its end. Raises CannotStart with what it said."""
        done = call(what, self.command(*arguments), self.variables(), bound_s=bound_s)
        if done.returncode:
            raise refused(what, done.stderr or done.stdout)


def removal(project: str) -> str:
    """The command that removes all of a project; it needs no file."""
    return f"docker compose -p {project} down -v"


def memory_mb() -> float:
    """What all containers together may take, in MB: with Docker Desktop less than the machine has.

    Raises CannotStart where Docker or Compose is not installed, or the daemon does not answer.
    """
    if which("docker") is None:
        raise CannotStart(PART, "is not installed", hint=INSTALL)
    info = call("docker info", ["docker", "info", "--format", "{{json .}}"])
    found = _object(info.stdout)
    errors: list[str] = found.get("ServerErrors") or []
    if info.returncode or errors or not found.get("MemTotal"):
        why = (info.stderr.strip() or "\n".join(errors)).splitlines()
        raise CannotStart(
            PART,
            why[-1] if why else "the daemon does not answer",
            hint="is it running, and may you use it? `docker info` must answer",
        )
    plugin = call("docker compose version", ["docker", "compose", "version"])
    if plugin.returncode:
        raise CannotStart(
            PART,
            "has no `docker compose`",
            hint="install its plugin: docs.docker.com/compose/install",
        )
    total: float = found["MemTotal"] / 1e6
    return total


def have(image: str) -> bool:
    """Whether the image is on the daemon's host."""
    return not call("docker image inspect", ["docker", "image", "inspect", image]).returncode


def pull(image: str) -> None:
    """Raises CannotStart."""
    command = ["docker", "pull", "--quiet", image]
    done = call(f"docker pull {image}", command, bound_s=_PULL_S)
    if done.returncode:
        error = refused(f"image {image}", done.stderr, "cannot be pulled")
        error.hint = f"try `docker pull {image}`, or bring it by `docker load`"
        raise error


def projects(prefix: str) -> tuple[str, ...]:
    """Names of the projects that still have containers, running or not."""
    label = "com.docker.compose.project"
    command = ["docker", "ps", "-a", f"--filter=label={label}"]
    done = call("docker ps", [*command, f'--format={{{{.Label "{label}"}}}}'])
    found = dict.fromkeys(done.stdout.split())
    return tuple(name for name in found if name.startswith(prefix))


def signal(project: str, service: str, name: str) -> bool:
    """Send the signal ``name`` to every container of ``service``; whether there was one.

    Raises CannotStart.
    """
    labels = (f"com.docker.compose.project={project}", f"com.docker.compose.service={service}")
    command = ["docker", "ps", "-q"]
    for label in labels:
        command += ["--filter", f"label={label}"]
    ids = call("docker ps", command).stdout.split()
    if ids:
        call("docker kill", ["docker", "kill", "--signal", name, *ids])
    return bool(ids)


def call(
    what: str,
    command: Sequence[str],
    environment: Mapping[str, str] | None = None,
    *,
    bound_s: float = _ANSWER_S,
) -> CompletedProcess[str]:
    """Run ``what`` to its end, out of reach of the terminal's Ctrl-C. Raises CannotStart where it
    can't be run, or has not ended after ``bound_s`` seconds; then it is killed."""
    try:
        with Popen(
            command,
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=PIPE,
            text=True,
            errors="replace",
            env=environment,
            start_new_session=True,
        ) as process:
            try:
                out, err = process.communicate(timeout=bound_s)
            except BaseException:
                # With its plugins, which are processes of their own and would go on.
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, SIGKILL)
                raise
    except TimeoutExpired:
        raise CannotStart(
            what,
            f"did not end within {bound_s:g} s",
            hint="is the daemon busy, or gone? `docker info` must answer",
        ) from None
    except OSError as error:
        raise CannotStart(what, f"cannot be run: {error.strerror}", hint=INSTALL) from None
    return CompletedProcess(command, process.returncode, out, err)


def refused(part: str, said: str, what: str | None = None) -> CannotStart:
    """With the last line of what docker said as the reason, and the lines before as log."""
    lines = [line.rstrip() for line in said.splitlines() if line.strip()]
    why = lines[-1].strip() if lines else "docker does not say why"
    hint = None
    if "port is already allocated" in said or "address already in use" in said:
        hint = "another program has that port: `ss -ltnp` tells which"
    return CannotStart(
        part,
        why if what is None else f"{what}: {why}",
        "\n".join(lines[-_TAIL:-1]),
        hint,
    )


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
