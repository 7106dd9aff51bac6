"""A place that is not yours, or read-only: exit 2, told with what to do, and nothing is left there.

Root may write anywhere, so the commands run in a process that has given up that privilege; the
places belong to somebody else where they can be given away, and are closed to their owner else.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from hopbench import cli, disk
from hopbench.exits import Exit
from services.errors import BadInput, CannotStart
from tests.command_line import Hopbench

SOMEBODY = 4321
_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 1, 2  # capabilities(7)
_PR_CAPBSET_DROP = 24  # linux/prctl.h

CHILD = """\
import contextlib, io, json, sys
from hopbench import cli

ended = []
for directory, words in json.load(sys.stdin):
    said = io.StringIO()
    with contextlib.chdir(directory), contextlib.redirect_stderr(said):
        ended.append((cli.invoke(words), said.getvalue()))
json.dump(ended, sys.stdout)
"""

MODES = {"closed": 0o000, "closed.yaml": 0o000, "secret/plan.json": 0o000, "listed": 0o444}
"""Of what is not open to be read."""

CASES: list[tuple[str, str]] = [
    # a command line, where `theirs` is a directory of somebody's; what is told
    ("run chatty --engine virtual --out theirs/empty", "empty/trials: cannot be written"),
    ("run chatty --engine virtual --out theirs/new", "--out theirs/new: Permission denied"),
    ("run chatty --dry-run --json theirs/plan.json", "theirs cannot be written to"),
    ("run --resume theirs/run", "theirs/run: cannot be written"),
    ("run --resume theirs/closed", "'theirs/closed' is not readable"),
    ("run --resume theirs/listed", "theirs/listed: cannot be read"),
    ("run theirs/closed.yaml", "theirs/closed.yaml: cannot be read"),
    ("run theirs/closed", "cannot be read"),
    ("report theirs/run", "theirs/run: cannot be written"),
    ("gates theirs/run", "theirs/run: cannot be written"),
    ("report theirs/listed", "theirs/listed: cannot be read"),
    ("report theirs/secret", "theirs/secret/plan.json: cannot be read"),
    ("analyze theirs/closed", "theirs/closed/plan.json: cannot be read"),
    ("analyze theirs/closed.yaml", "theirs/closed.yaml: cannot be read"),
    ("up chatty --out theirs/empty", "empty/trials: cannot be written"),
    ("collect --out theirs/traces", "theirs/traces: cannot be written"),
    ("collect --out theirs/empty", "theirs/empty: cannot be written"),
    ("init theirs/mine.yaml", "cannot be written"),
    ("generate --services 2 -o theirs/mine.yaml", "cannot be written"),
    ("render compose chatty -o theirs/compose.yaml", "cannot be written"),
    ("render kubernetes chatty -o theirs/k8s", "cannot be written"),
]
HERE: list[tuple[str, str]] = [
    # the same, in a directory of somebody's
    ("run chatty --engine virtual", "runs: cannot be written: Permission denied"),
    ("up chatty", "runs: cannot be written: Permission denied"),
]


@dataclass(frozen=True, slots=True)
class Told:
    code: int
    err: str


def unprivileged() -> None:
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None)
        for capability in (_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH):
            libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)


def give_away(place: Path) -> None:
    """What :data:`MODES` does not name can be read, and nothing be written."""
    for path in (*place.rglob("*"), place):
        path.chmod(MODES.get(str(path.relative_to(place)), 0o555))
        if os.geteuid() == 0:
            os.chown(path, SOMEBODY, SOMEBODY)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Told]:
    """How each command of the tables ended, all in one process."""
    home = tmp_path_factory.mktemp("home")
    theirs = home / "theirs"
    make(theirs)
    words = [
        *((str(home), line.split()) for line, _ in CASES),
        *((str(theirs), line.split()) for line, _ in HERE),
    ]
    before = sorted(home.rglob("*"))
    give_away(theirs)
    try:
        child = subprocess.run(
            [sys.executable, "-c", CHILD],
            input=json.dumps(words).encode(),
            stdout=subprocess.PIPE,
            preexec_fn=unprivileged,  # no other thread here
            check=True,
            timeout=100,
        )
    finally:
        if os.geteuid() != 0:
            for path in (theirs, *theirs.rglob("*")):
                path.chmod(0o755)
    assert sorted(home.rglob("*")) == before
    ended = [Told(*each) for each in json.loads(child.stdout)]
    return dict(zip((line for line, _ in (*CASES, *HERE)), ended, strict=True))


def make(theirs: Path) -> None:
    theirs.mkdir()
    (theirs / "empty").mkdir()
    (theirs / "closed.yaml").touch()
    short = ("--duration", "1s", "--warmup", "0s", "--quiet", "--out", str(theirs / "run"))
    assert cli.invoke(["run", "chatty", "--engine", "virtual", *short]) == Exit.DONE
    for name in ("closed", "secret", "listed"):
        (theirs / name).mkdir()
        for file in ("plan.json", "scenario.yaml"):
            (theirs / name / file).write_bytes((theirs / "run" / file).read_bytes())


@pytest.mark.parametrize(("line", "said"), [*CASES, *HERE], ids=[x for x, _ in (*CASES, *HERE)])
def test_a_place_of_somebody_elses_is_refused(told: dict[str, Told], line: str, said: str) -> None:
    ended = told[line]
    assert ended.code == Exit.BAD_INPUT, ended.err
    assert "Traceback" not in ended.err
    assert said in ended.err


@pytest.mark.parametrize(
    ("line", "place", "instead"),
    [
        ("collect --out theirs/empty", "theirs/empty", "name another place"),
        # A run lies where it lies.
        ("run --resume theirs/run", "theirs/run", "copy it, and name the copy"),
        ("report theirs/run", "theirs/run", "copy it, and name the copy"),
        ("gates theirs/run", "theirs/run", "copy it, and name the copy"),
    ],
)
def test_who_has_the_place_is_told_and_what_would_help(
    told: dict[str, Told], line: str, place: str, instead: str
) -> None:
    owner = SOMEBODY if os.geteuid() == 0 else os.geteuid()
    mine = f"belongs to uid {owner}, and this is uid {os.geteuid()}: {instead}"
    assert f"{place} (dr-xr-xr-x) {mine}, or have it made yours" in told[line].err


@pytest.fixture
def frozen(tmp_path: Path) -> Iterator[Path]:
    """A file system that cannot be written, with a run on it."""
    place = tmp_path / "frozen"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting needs root on Linux")
    try:
        make(place / "theirs")
        freeze = ["mount", "-o", "remount,ro", str(place)]
        subprocess.run(freeze, capture_output=True, check=True)
        yield place / "theirs"
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_file_system_that_cannot_be_written_is_refused(frozen: Path, hopbench: Hopbench) -> None:
    another, copy = "name another place", "copy it, and name the copy"
    for instead, *words in (
        (another, "run", "chatty", "--engine", "virtual", "--out", frozen / "new"),
        (another, "run", "chatty", "--engine", "virtual", "--out", frozen / "empty"),
        (copy, "run", "--resume", frozen / "run"),
        (copy, "report", frozen / "run"),
        (another, "collect", "--out", frozen / "traces"),
    ):
        ended = hopbench(*words)
        assert ended.code == Exit.BAD_INPUT, ended.err
        assert "Read-only file system" in ended.err
        assert f"that file system is read-only: {instead}" in ended.err
    assert hopbench("analyze", frozen / "run").code == Exit.DONE, "reading is all it takes"


@pytest.mark.parametrize(
    ("error", "refused", "said"),
    [
        (OSError(errno.ENOSPC, "No space", "a"), CannotStart, "a: cannot be written: No space"),
        (OSError(errno.EDQUOT, "Quota", "a"), CannotStart, "make room"),
        (OSError(errno.EFBIG, "Too large", "a"), CannotStart, "ulimit -f"),
        (OSError(errno.EIO, "Broken"), CannotStart, "cannot be written: Broken"),
        (OSError(errno.EROFS, "Read-only", "a"), BadInput, "name another place"),
        (PermissionError("/x: denied"), BadInput, "/x: denied"),  # as polars raises it
        (FileNotFoundError(errno.ENOENT, "No usable temporary directory"), BadInput, "TMPDIR"),
        (FileNotFoundError(errno.ENOENT, "No such file", "a"), BadInput, "its directory is gone"),
        (PermissionError(errno.EPERM, "of a process"), type(None), ""),
        (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), type(None), ""),
    ],
)
def test_what_a_place_refuses_is_told_and_nothing_else(
    error: OSError, refused: type, said: str
) -> None:
    found = disk.refusal(error)
    assert isinstance(found, refused)
    assert said in str(found)
