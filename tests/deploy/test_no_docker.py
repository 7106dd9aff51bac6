"""`--engine compose` where Docker is missing in one way or another: exit 5, told, nothing left.

Each test has a PATH of its own: what is not there is really not there, and where a `docker` has to
answer in a certain way, a script does.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

PLENTY = json.dumps({"MemTotal": 10**12})


def run(
    directory: Path, path: Path, *flags: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hopbench", "run", "chatty", "--engine", "compose", *flags],
        cwd=directory,
        env={**os.environ, "PATH": str(path), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def scripted(directory: Path, *cases: str) -> Path:
    """A directory with a ``docker`` that answers by ``cases`` of the shell, and fails otherwise."""
    path = directory / "bin"
    path.mkdir()
    docker = path / "docker"
    lines = ["#!/bin/sh", 'case "$*" in', *cases, '*) echo "unexpected: $*" >&2; exit 9;;', "esac"]
    docker.write_text("\n".join(lines) + "\n")
    docker.chmod(0o755)
    return path


def refused(done: subprocess.CompletedProcess[str], directory: Path, code: int = 5) -> None:
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("error:") == 1
    runs = directory / "runs"
    assert not runs.exists() or not list(runs.iterdir())


def test_no_docker(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = run(tmp_path, tmp_path / "empty")
    refused(done, tmp_path)
    assert "docker: is not installed" in done.stderr
    assert "--engine local" in done.stderr


def test_a_plan_needs_no_docker(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = run(tmp_path, tmp_path / "empty", "--dry-run", "--json", "-")
    assert done.returncode == 0
    assert orjson.loads(done.stdout)["settings"]["engine"] == "compose"


def test_a_daemon_that_does_not_run(tmp_path: Path) -> None:
    said = "Cannot connect to the Docker daemon at unix:///nonexistent. Is it running?"
    path = scripted(tmp_path, f"info*) echo '{json.dumps({'ServerErrors': [said]})}'; exit 0;;")
    done = run(tmp_path, path)
    refused(done, tmp_path)
    assert said in done.stderr
    assert "`docker info` must answer" in done.stderr


def test_no_compose_plugin(tmp_path: Path) -> None:
    path = scripted(
        tmp_path,
        f"info*) echo '{PLENTY}';;",
        '"compose version") echo "docker: \'compose\' is not a docker command." >&2; exit 1;;',
    )
    done = run(tmp_path, path)
    refused(done, tmp_path)
    assert "has no `docker compose`" in done.stderr


def test_an_image_that_cannot_be_pulled(tmp_path: Path) -> None:
    path = scripted(
        tmp_path,
        f"info*) echo '{PLENTY}';;",
        '"compose version") echo v2;;',
        "ps*) ;;",
        "image*hopbench*) ;;",
        "image*) exit 1;;",
        "pull*) echo 'Error response from daemon: no route to registry' >&2; exit 1;;",
    )
    done = run(tmp_path, path)
    refused(done, tmp_path)
    assert "jaegertracing/jaeger:2.13.0: cannot be pulled" in done.stderr
    assert "no route to registry" in done.stderr


def test_our_own_image_is_pulled_from_nowhere(tmp_path: Path) -> None:
    path = scripted(
        tmp_path,
        f"info*) echo '{PLENTY}';;",
        '"compose version") echo v2;;',
        "ps*) ;;",
        "image*jaeger*) ;;",
        "image*) exit 1;;",
    )
    done = run(tmp_path, path, HOPBENCH_IMAGE="somebody/hopbench:9")
    refused(done, tmp_path)
    assert "image somebody/hopbench:9: is not here" in done.stderr
    assert "docker build" in done.stderr


def test_more_memory_than_docker_has(tmp_path: Path) -> None:
    path = scripted(
        tmp_path,
        f"info*) echo '{json.dumps({'MemTotal': 10**9})}';;",
        '"compose version") echo v2;;',
        "ps*) ;;",
    )
    done = run(tmp_path, path)
    refused(done, tmp_path, code=2)
    assert "MB of memory in its containers, and 500 MB are free" in done.stderr


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    path = scripted(
        tmp_path, f"info*) echo '{PLENTY}';;", '"compose version") echo v2;;', "ps*) ;;"
    )
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        done = run(tmp_path, path, "--web", str(port))
    refused(done, tmp_path)
    assert f"port {port} is taken" in done.stderr


def test_containers_that_do_not_come_up_are_removed(tmp_path: Path) -> None:
    path = scripted(
        tmp_path,
        f"info*) echo '{PLENTY}';;",
        '"compose version") echo v2;;',
        "ps*) ;;",
        "image*) ;;",
        '*down*) echo "$*" >> "$DOWN";;',
        "*up*) echo 'Bind for 127.0.0.1:9092 failed: port is already allocated' >&2; exit 1;;",
    )
    done = run(tmp_path, path, DOWN=str(tmp_path / "down"))
    refused(done, tmp_path)
    assert "port is already allocated" in done.stderr
    assert "another program has that port" in done.stderr
    (down,) = (tmp_path / "down").read_text().splitlines()
    assert " down -v " in down


@pytest.mark.parametrize("keep", [False, True])
def test_the_benchs_exit_code_is_ours(tmp_path: Path, keep: bool) -> None:
    path = scripted(
        tmp_path,
        f"info*) echo '{PLENTY}';;",
        '"compose version") echo v2;;',
        "ps*) echo hopbench-run-1234;;",
        "image*) ;;",
        '*down*) echo "$*" >> "$DOWN";;',
        '*run*bench) echo \'{"said": 1}\'; echo told >&2; echo {} > "$OUT/plan.json"; exit 4;;',
        "*up*) ;;",
    )
    out = tmp_path / "out"
    flags = ["--out", str(out), "--json", "-", *(["--keep"] if keep else [])]
    done = run(tmp_path, path, *flags, DOWN=str(tmp_path / "down"), OUT=str(out))
    assert done.returncode == 4
    assert done.stdout == '{"said": 1}\n'
    assert "told" in done.stderr
    assert "docker compose -p hopbench-run-1234 down -v" in done.stderr, "an earlier one"
    assert (tmp_path / "down").exists() is not keep
    assert ("to remove it all: docker compose -p hopbench-run-" in done.stderr) is keep
    assert (out / "compose.yaml").is_file()
