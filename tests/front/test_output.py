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


@pytest.mark.parametrize("words", [("schema", "summary"), ("validate", "checkout"), ("list",)])
def test_a_reader_that_has_seen_enough_is_no_failure(words: tuple[str, ...]) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    command = [sys.executable, "-m", "hopbench", *words]
    with os.fdopen(theirs, "wb") as closed:
        ran = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, check=False)
    assert (ran.returncode, ran.stderr) == (Exit.DONE, b"")


@pytest.mark.slow
def test_what_an_encoding_cannot_say_ends_nothing(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "hopbench", "run", "chatty", "--engine", "virtual"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=False,
    )
    assert ran.returncode == Exit.DONE, ran.stderr
    assert ran.stdout.isascii()
    assert b"order.create" in ran.stdout


@pytest.mark.slow
def test_where_nobody_looks_there_is_a_line_a_round(hopbench: Hopbench) -> None:
    words = ("run", "chatty", "--engine", "virtual", "--out", "run")
    told = hopbench(*words)
    rounds = [line for line in told.err.splitlines() if line.startswith("round ")]
    assert len(rounds) == 2
    assert rounds[0].startswith("round 1 of 2: ")
    assert "round 1" not in hopbench(*words[:-1], "quiet", "--quiet").err


def test_a_bare_command_prints_its_help(hopbench: Hopbench) -> None:
    told = hopbench()
    assert told.code == Exit.DONE
    assert b"analyze" in told.out


@pytest.mark.parametrize(
    "words", [("list", "--json", "absent/x"), ("collect", "--out", "new", "--json", "x")]
)
def test_a_target_that_is_refused_is_not_written_to(
    words: tuple[str, ...], tmp_path: Path, hopbench: Hopbench
) -> None:
    told = hopbench(*words)
    assert told.code == Exit.BAD_INPUT
    assert told.err.count("error:") == 1
    assert list(tmp_path.iterdir()) == []
