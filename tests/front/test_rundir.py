from __future__ import annotations

import errno
from datetime import datetime
from pathlib import Path

import pytest

from hopbench import disk
from hopbench.runs import directory as rundir
from services.errors import BadInput

NOW = datetime(2026, 3, 1, 14, 5, 9)


def test_a_run_is_named_by_time_and_scenario(tmp_path: Path, chdir: None) -> None:
    assert rundir.create("chatty", NOW, None).path == Path("runs/20260301-140509-chatty")
    assert rundir.create("chatty", NOW, None).path == Path("runs/20260301-140509-chatty-2")


def test_out_names_the_run_directory_itself_and_must_be_empty(tmp_path: Path) -> None:
    run = rundir.create("chatty", NOW, tmp_path / "deep" / "mine")
    assert run.path == tmp_path / "deep" / "mine"
    with pytest.raises(BadInput, match=r"not empty(.|\n)*--resume"):
        rundir.create("chatty", NOW, run.path)


def test_a_file_is_no_run_directory(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(BadInput, match="--out"):
        rundir.create("chatty", NOW, file)
    with pytest.raises(BadInput, match=r"plan\.json is missing"):
        rundir.opened(tmp_path)
    with pytest.raises(BadInput, match="does not exist"):
        rundir.opened(tmp_path / "absent")


def test_json_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    disk.write_json(path, {"a": 1})
    disk.write_json(path, {"a": 2})
    assert path.read_text() == '{\n  "a": 2\n}\n'
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_what_is_not_written_to_its_end_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("before")

    def half() -> None:
        with disk.whole(path) as file:
            file.write(b"hal")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        half()
    assert path.read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]
