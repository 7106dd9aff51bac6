"""A disk that is full in the middle of a run, or from its start."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from hopbench.exits import Exit
from tests.faults.harness import Site, doubt

pytestmark = pytest.mark.slow

FILE_LIMIT = 20_000


@dataclass(frozen=True, slots=True)
class Disk:
    """A small file system of its own."""

    path: Path

    def resize(self, size: str) -> None:
        mount(f"remount,size={size}", self.path)

    def fill(self, leave_bytes: int) -> None:
        """Whatever else is written meanwhile."""
        with (self.path / "filler").open("wb", buffering=0) as filler:
            with suppress(OSError):
                while filler.write(b"\0" * 4096):
                    pass
            filler.truncate(filler.tell() - leave_bytes)

    def free(self) -> None:
        (self.path / "filler").unlink()


def mount(options: str, path: Path) -> None:
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)], check=True, capture_output=True
    )


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    path = tmp_path / "disk"
    path.mkdir()
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("mounting needs root on Linux")
    try:
        mount("size=4m", path)
    except (subprocess.CalledProcessError, FileNotFoundError) as error:
        pytest.skip(f"tmpfs cannot be mounted here: {error}")
    yield Disk(path)
    subprocess.run(["umount", "--lazy", str(path)], check=True)


def test_a_disk_that_fills_up_ends_the_run_and_what_it_took_can_be_reported(
    site: Site, disk: Disk
) -> None:
    bench = site.start("run", site.scenario(), "--out", disk.path / "run", run=disk.path / "run")
    bench.until("measuring")
    disk.fill(leave_bytes=4096)
    ended = bench.end()
    assert ended.code == Exit.BROKEN
    assert "No space left on device" in ended.err
    assert "Traceback" not in ended.err
    assert f"once there is room: hopbench report {disk.path / 'run'}" in ended.err

    full = site.run("report", disk.path / "run")
    assert full.code == Exit.BROKEN
    assert "No space left on device" in full.err

    disk.free()
    reported = site.run("report", disk.path / "run", "--json", "-")
    assert reported.code == Exit.DONE
    (trial,) = reported.document["trials"]
    assert doubt(trial, "broken") or doubt(trial, "interrupted")
    assert trial["load"]["sent"] > 0
    assert trial["spans"]["received"] > 0

    resumed = site.run("run", "--resume", disk.path / "run", "--json", "-")
    assert resumed.code == Exit.DONE
    assert [trial["load"]["failed"] for trial in resumed.document["trials"]] == [0, 0]


def test_a_disk_that_is_full_before_a_run_starts_nothing(site: Site, disk: Disk) -> None:
    disk.fill(leave_bytes=0)
    ended = site.run("run", site.scenario(), "--out", disk.path / "run")
    assert ended.code == Exit.BROKEN
    assert "No space left on device" in ended.err
    assert "Traceback" not in ended.err


def test_a_document_that_the_disk_refuses_is_told_and_the_run_stays(site: Site, disk: Disk) -> None:
    disk.fill(leave_bytes=0)
    ended = site.run(
        "run", "chain", "--engine", "virtual", "--out", "run", "--json", disk.path / "summary.json"
    )
    assert ended.code == Exit.BROKEN
    assert "No space left on device" in ended.err
    assert (site.path / "run/report.html").is_file()
    assert list(disk.path.iterdir()) == [disk.path / "filler"]


def test_a_limit_on_file_sizes_is_told_as_a_full_disk_is(site: Site) -> None:
    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_LIMIT, FILE_LIMIT))

    ended = site.run(
        "run", site.scenario(), "--variant", "baseline", "--out", "run", before=limited
    )
    assert ended.code == Exit.BROKEN
    assert "File too large" in ended.err
    assert "Traceback" not in ended.err

    reported = site.run("report", "run", "--json", "-")
    assert reported.code == Exit.DONE
    (trial,) = reported.document["trials"]
    assert doubt(trial, "broken") or doubt(trial, "interrupted")
