"""Becoming the owner of a directory: as root by setuid, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

WHO = "id -u; id -g; id -G"
"""Python itself may lie where only root may go."""

as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root may become somebody else")


def owner(directory: Path | str, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hopbench.deploy.inside.owner", str(directory), "--", *command],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@as_root
def test_root_becomes_the_owner_and_gives_up_every_group(tmp_path: Path) -> None:
    os.chown(tmp_path, 4321, 8765)
    done = owner(tmp_path, "sh", "-c", WHO)
    assert (done.stdout.split(), done.stderr) == (["4321", "8765", "8765"], "")


@as_root
def test_what_is_written_belongs_to_the_owner() -> None:
    # Not below pytest's own directories, which nobody else may enter.
    directory = Path(f"/tmp/hopbench-owner-{os.getpid()}")
    directory.mkdir()
    os.chown(directory, 4321, 8765)
    try:
        assert owner(directory, "touch", str(directory / "file")).returncode == 0
        written = (directory / "file").stat()
        assert (written.st_uid, written.st_gid) == (4321, 8765)
        (directory / "file").unlink()
    finally:
        directory.rmdir()


@as_root
def test_somebody_else_may_not_become_the_owner() -> None:
    directory = Path(f"/tmp/hopbench-owner-{os.getpid()}")
    directory.mkdir(mode=0o755)
    os.chown(directory, 4321, 8765)
    script = (
        "import os, sys; from hopbench.deploy.inside import owner;"
        "os.setgroups([]); os.setgid(1111); os.setuid(1111); owner.main(sys.argv[1:])"
    )
    try:
        done = subprocess.run(
            [sys.executable, "-c", script, str(directory), "--", "true"],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    finally:
        directory.rmdir()
    assert done.returncode == 5
    assert "belongs to uid 4321, and uid 1111 may not become that" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_owner_itself_stays_who_it_is(tmp_path: Path) -> None:
    done = owner(tmp_path, "sh", "-c", WHO)
    assert done.stdout.split()[0] == str(os.getuid())


def test_the_exit_code_is_the_commands(tmp_path: Path) -> None:
    assert owner(tmp_path, "sh", "-c", "exit 3").returncode == 3


def test_a_directory_that_is_not_there_is_told(tmp_path: Path) -> None:
    done = owner(tmp_path / "none", "true")
    assert done.returncode == 5
    assert "No such file" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_command_that_is_not_there_is_told(tmp_path: Path) -> None:
    done = owner(tmp_path, "no-such-command")
    assert done.returncode == 127
    assert "no-such-command: No such file" in done.stderr


def test_usage(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hopbench.deploy.inside.owner", str(tmp_path), "true"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 2
    assert "usage" in done.stderr
