"""Recorded arrivals: what may stand in the file, and what comes of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from services.errors import BadInput
from services.scenario.file.parser import load, parse_text
from services.scenario.file.recording import read_recording
from services.scenario.pace import Replay

MS = 1_000_000
SCENARIO = """version: 1
services:
  a: {operations: {go: [work: 1ms]}}
load:
  arrivals: replay   # of last Friday
  replay: LOG
  warmup: 0
  entry: a.go
"""


@pytest.mark.parametrize(
    "content",
    [
        "0\n0.005\n0.020\n",
        "1700000000.000\n1700000000.005\n1700000000.020\n",
        "1700000000000\n1700000000005\n1700000000020\n",
        "t\n1700000000000000000\n1700000000005000000\n1700000000020000000\n",
        '0,a\n0.005,"b\n0.020,c\n',
        '"0";GET /\n"0.005";GET /\n"0.020";GET /\n',
        "time,route\n100ms,/a\n105ms,/b\n120ms,/c\n",
        "# access log\n\n0.020\n0\n0.005\n",
        "at\n2026-05-01T12:00:00Z\n2026-05-01 12:00:00.005\n2026-05-01T14:00:00.020+02:00\n",
        "\ufeff5s\r\n5.005s\r\n5.02s\r\n",
    ],
    ids=[
        *("seconds", "unix", "unix ms", "unix ns", "a stray quote", "quoted"),
        *("units", "unsorted", "iso", "windows"),
    ],
)
def test_times_count_from_the_earliest_however_they_are_written(
    content: str, tmp_path: Path
) -> None:
    (tmp_path / "log.csv").write_text(content)
    assert read_recording(tmp_path / "log.csv") == (0, 5 * MS, 20 * MS)


@pytest.mark.parametrize(
    ("content", "line", "said"),
    [
        ("", None, "no arrival in it"),
        ("time\n", None, "no arrival in it"),
        ("0\nsoon\n", 2, "'soon' is not a time like those above"),
        ("0\n5ms\n", 2, "'5ms' is not a time like those above"),
        ("a,b\nc,d\n", 2, "'c' is not a time"),
        ("nan\n0\n1e400\n", 3, "'1e400' is not a time"),
        ("1\n2\n1e9999999\n", 3, "'1e9999999' is not a time"),
        ("\udc80\n", None, "not text"),
        ("-90000000000\n90000000000\n", None, "more than a century apart"),
    ],
)
def test_what_is_no_recording_is_told_with_its_line(
    content: str, line: int | None, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "log.csv"
    path.write_text(content, errors="surrogateescape")
    with pytest.raises(BadInput) as refused:
        read_recording(path)
    assert said in refused.value.text
    assert (refused.value.file, refused.value.line) == (str(path), line)


@pytest.mark.parametrize("name", ["pipe", "directory", "a\0b", ""])
def test_what_is_no_file_is_no_recording(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "directory").mkdir()
    with pytest.raises(BadInput, match="no file"):
        read_recording(tmp_path / name)


@pytest.mark.parametrize("named", ["arrivals.csv", "'arrivals.csv'", '"arrivals.csv"'])
def test_a_scenario_carries_its_recording_along(named: str, tmp_path: Path) -> None:
    (tmp_path / "arrivals.csv").write_text("3\n3.5\n4.25\n")
    (tmp_path / "mine.yaml").write_text(SCENARIO.replace("LOG", named))
    read = load(str(tmp_path / "mine.yaml"))
    assert read.scenario.load.pace == Replay((0, 500 * MS, 1250 * MS))
    assert "# of last Friday" in read.text
    assert "replay: [0ns, 500ms, 1.25s]" in read.text
    assert parse_text(read.text).load == read.scenario.load


def test_another_recording_is_another_scenario(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(SCENARIO.replace("LOG", "log.csv"))
    digests = set()
    for last in ("4", "5"):
        (tmp_path / "log.csv").write_text(f"3\n{last}\n")
        digests.add(load(str(tmp_path / "mine.yaml")).sha256)
    assert len(digests) == 2


def test_a_name_away_from_its_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("0\n1\n")
    (tmp_path / "mine.yaml").write_text(SCENARIO.replace("LOG", ">-\n    log.csv"))
    with pytest.raises(BadInput, match="not beside its key") as refused:
        load(str(tmp_path / "mine.yaml"))
    assert refused.value.file == str(tmp_path / "mine.yaml")
