"""``--json FILE``: a file is there whole or not at all; whatever else it names stays what it is."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from hopbench.exits import Exit
from tests.command_line import Hopbench


def test_a_file_is_replaced_whole(tmp_path: Path, hopbench: Hopbench) -> None:
    file = tmp_path / "list.json"
    file.write_text("before")
    before = file.stat().st_ino
    assert hopbench("list", "--json", file).code == Exit.DONE
    assert json.loads(file.read_bytes())["scenarios"]
    assert file.stat().st_ino != before
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_one(tmp_path: Path, hopbench: Hopbench, there: bool) -> None:
    file, link = tmp_path / "list.json", tmp_path / "link.json"
    link.symlink_to(file)
    if there:
        file.write_text("x" * 100_000)
    assert hopbench("list", "--json", link).code == Exit.DONE
    assert link.is_symlink()
    assert json.loads(file.read_bytes())["scenarios"]


def test_a_pipe_stays_one(tmp_path: Path, hopbench: Hopbench) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()), daemon=True)
    reader.start()
    assert hopbench("list", "--json", pipe).code == Exit.DONE
    reader.join(timeout=10)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert json.loads(read[0])["scenarios"]


def test_a_device_stays_one(hopbench: Hopbench) -> None:
    ours, theirs = os.openpty()
    try:
        terminal = Path(os.ttyname(theirs))
        assert hopbench("validate", "chatty", "--json", terminal).code == Exit.DONE
        assert stat.S_ISCHR(terminal.stat().st_mode)
        assert os.read(ours, 100).startswith(b"{")
    finally:
        os.close(ours)
        os.close(theirs)


def test_standard_output_keeps_what_people_were_told(tmp_path: Path) -> None:
    """Where it is a file, which a second opening would write from its beginning."""
    said = tmp_path / "said"
    with said.open("wb") as file:
        subprocess.run(
            # As /dev/stdout, which root would lose if this did not hold.
            [sys.executable, "-m", "hopbench", "validate", "chatty", "--json", "/proc/self/fd/1"],
            stdout=file,
            check=True,
        )
    people, brace, document = said.read_text().partition("{")
    assert "chatty" in people
    assert json.loads(brace + document)


def test_a_link_into_nowhere_is_told_before_the_run(tmp_path: Path, hopbench: Hopbench) -> None:
    link = tmp_path / "link.json"
    link.symlink_to(tmp_path / "absent" / "list.json")
    done = hopbench("run", "chatty", "--json", link)
    assert done.code == Exit.BAD_INPUT
    assert "is no directory" in done.err
