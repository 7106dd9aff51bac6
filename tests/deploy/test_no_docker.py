"""`--engine compose` where Docker is missing in one way or another: exit 5, told, nothing left.

Each test has a PATH of its own: what is not there is really not there, and where a `docker` has to
answer in a certain way, a script does.
"""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path

import pytest

from hopbench.deploy.docker import Project
from services.errors import CannotStart
from tests.command_line import Ended, Hopbench

PLENTY = json.dumps({"MemTotal": 10**12})
ANSWERS = (f"info*) echo '{PLENTY}';;", '"compose version") echo v2;;', "ps*) ;;")
READY = (*ANSWERS, "image*) ;;")
"""It answers, and has every image."""


def run(hopbench: Hopbench, path: Path, *flags: str, **environment: str) -> Ended:
    return hopbench("run", "chatty", "--engine", "compose", *flags, PATH=str(path), **environment)


def scripted(directory: Path, *cases: str) -> Path:
    """A directory with a ``docker`` that answers by ``cases`` of the shell, and fails otherwise."""
    path = directory / "bin"
    path.mkdir()
    docker = path / "docker"
    lines = ["#!/bin/sh", 'case "$*" in', *cases, '*) echo "unexpected: $*" >&2; exit 9;;', "esac"]
    docker.write_text("\n".join(lines) + "\n")
    docker.chmod(0o755)
    return path


def refused(done: Ended, directory: Path, code: int = 5) -> None:
    assert done.code == code, done.err
    assert "Traceback" not in done.err
    assert done.err.count("error:") == 1
    runs = directory / "runs"
    assert not runs.exists() or not list(runs.iterdir())


def test_no_docker(tmp_path: Path, hopbench: Hopbench) -> None:
    (tmp_path / "empty").mkdir()
    done = run(hopbench, tmp_path / "empty")
    refused(done, tmp_path)
    assert "docker: is not installed" in done.err
    assert "--engine local" in done.err


def test_a_plan_needs_no_docker(tmp_path: Path, hopbench: Hopbench) -> None:
    (tmp_path / "empty").mkdir()
    done = run(hopbench, tmp_path / "empty", "--dry-run", "--json", "-")
    assert done.code == 0
    assert done.document["settings"]["engine"] == "compose"


def test_a_daemon_that_does_not_run(tmp_path: Path, hopbench: Hopbench) -> None:
    said = "Cannot connect to the Docker daemon at unix:///nonexistent. Is it running?"
    path = scripted(tmp_path, f"info*) echo '{json.dumps({'ServerErrors': [said]})}'; exit 0;;")
    done = run(hopbench, path)
    refused(done, tmp_path)
    assert said in done.err
    assert "`docker info` must answer" in done.err


def test_no_compose_plugin(tmp_path: Path, hopbench: Hopbench) -> None:
    path = scripted(
        tmp_path,
        f"info*) echo '{PLENTY}';;",
        '"compose version") echo "docker: \'compose\' is not a docker command." >&2; exit 1;;',
    )
    done = run(hopbench, path)
    refused(done, tmp_path)
    assert "has no `docker compose`" in done.err


def test_an_image_that_cannot_be_pulled(tmp_path: Path, hopbench: Hopbench) -> None:
    path = scripted(
        tmp_path,
        *ANSWERS,
        "image*hopbench*) ;;",
        "image*) exit 1;;",
        "pull*) echo 'Error response from daemon: no route to registry' >&2; exit 1;;",
    )
    done = run(hopbench, path)
    refused(done, tmp_path)
    assert "jaegertracing/jaeger:2.13.0: cannot be pulled" in done.err
    assert "no route to registry" in done.err


def test_our_own_image_is_pulled_from_nowhere(tmp_path: Path, hopbench: Hopbench) -> None:
    path = scripted(
        tmp_path,
        *ANSWERS,
        "image*jaeger*) ;;",
        "image*) exit 1;;",
    )
    done = run(hopbench, path, HOPBENCH_IMAGE="somebody/hopbench:9")
    refused(done, tmp_path)
    assert "image somebody/hopbench:9: is not here" in done.err
    assert "docker build" in done.err


def test_more_memory_than_docker_has(tmp_path: Path, hopbench: Hopbench) -> None:
    path = scripted(
        tmp_path,
        f"info*) echo '{json.dumps({'MemTotal': 10**9})}';;",
        '"compose version") echo v2;;',
        "ps*) ;;",
    )
    done = run(hopbench, path)
    refused(done, tmp_path, code=2)
    assert "MB of memory in its containers, and 500 MB are free" in done.err


def test_a_port_that_is_taken(tmp_path: Path, hopbench: Hopbench) -> None:
    path = scripted(tmp_path, *ANSWERS)
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        done = run(hopbench, path, "--web", str(port))
    refused(done, tmp_path)
    assert f"port {port} is taken" in done.err


def test_containers_that_do_not_come_up_are_removed(tmp_path: Path, hopbench: Hopbench) -> None:
    path = scripted(
        tmp_path,
        *READY,
        '*down*) echo "$*" >> "$DOWN";;',
        "*up*) echo 'Bind for 127.0.0.1:9092 failed: port is already allocated' >&2; exit 1;;",
    )
    done = run(hopbench, path, DOWN=str(tmp_path / "down"))
    refused(done, tmp_path)
    assert "port is already allocated" in done.err
    assert "another program has that port" in done.err
    (down,) = (tmp_path / "down").read_text().splitlines()
    assert " down -v " in down


@pytest.mark.parametrize("keep", [False, True])
def test_the_benchs_exit_code_is_ours(tmp_path: Path, hopbench: Hopbench, keep: bool) -> None:
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
    done = run(hopbench, path, *flags, DOWN=str(tmp_path / "down"), OUT=str(out))
    assert done.code == 4
    assert done.out == b'{"said": 1}\n'
    assert "told" in done.err
    assert "docker compose -p hopbench-run-1234 down -v" in done.err, "an earlier one"
    assert (tmp_path / "down").exists() is not keep
    assert ("to remove it all: docker compose -p hopbench-run-" in done.err) is keep
    assert (out / "compose.yaml").is_file()


def test_a_docker_that_takes_too_long_is_told_with_its_command_and_nothing_of_it_goes_on(
    tmp_path: Path,
) -> None:
    path = scripted(tmp_path, '*up*) /bin/sleep 60 & echo $! > "$CHILD"; wait;;')
    child = tmp_path / "child"
    slow = Project("slow", "compose.yaml", {"PATH": str(path), "CHILD": str(child)})
    with pytest.raises(CannotStart, match=r"docker compose up: did not end within 0\.3 s"):
        slow.do("docker compose up", "up", "-d", bound_s=0.3)
    assert gone(int(child.read_text()))


def gone(pid: int) -> bool:
    """Within a second; a zombie is gone."""
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.01)
    return False


def test_a_docker_that_cannot_be_run_is_told(tmp_path: Path, hopbench: Hopbench) -> None:
    path = scripted(tmp_path)
    (path / "docker").write_bytes(b"\0 no program")
    done = run(hopbench, path)
    refused(done, tmp_path)
    assert "docker info: cannot be run" in done.err


def test_what_broke_first_ends_the_run_and_what_broke_after_it_is_told_beside(
    tmp_path: Path, hopbench: Hopbench
) -> None:
    path = scripted(
        tmp_path,
        *READY,
        "*down*) echo 'the daemon is gone' >&2; exit 1;;",
        "*up*) echo 'no space left on device' >&2; exit 1;;",
    )
    done = run(hopbench, path)
    refused(done, tmp_path)
    assert "error: docker compose up: no space left on device" in done.err
    assert "docker compose down: the daemon is gone" in done.err


def test_containers_that_stay_do_not_hide_what_the_bench_found(
    tmp_path: Path, hopbench: Hopbench
) -> None:
    path = scripted(
        tmp_path,
        *READY,
        "*down*) echo 'the daemon is gone' >&2; exit 1;;",
        '*run*bench) echo {} > "$OUT/plan.json"; echo {} > "$OUT/.document.json";;',
        "*up*) ;;",
    )
    out, kept, link = tmp_path / "out", tmp_path / "kept.json", tmp_path / "link.json"
    link.symlink_to(kept)
    done = run(hopbench, path, "--out", str(out), "--json", str(link), OUT=str(out))
    assert done.code == 5
    assert "docker compose down: the daemon is gone" in done.err
    assert "what is left goes by: docker compose -p hopbench-run-" in done.err
    assert (link.is_symlink(), kept.read_text()) == (True, "{}\n")
    assert not (out / ".document.json").exists()
