"""A round's spools become its tables, whatever ends that in between, and by one at a time."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import pytest

from hopbench.engines.virtual import execute
from hopbench.exits import Exit
from hopbench.runs import evidence, plan, rounds, trial
from hopbench.runs.directory import RunDir, TrialDir
from hopbench.runs.evidence import Written
from hopbench.runs.limits import Limits
from hopbench.runs.plan import RunPlan
from hopbench.runs.trial import Trial
from loadgen.samples import RECORD
from services.scenario.file.parser import parse_text
from tests.front.test_run import SCENARIO, VIRTUAL, invoke

REQUESTS = 400


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A run of one round, of two workers, whose spools nobody has read yet."""
    planned = plan.plan_of(
        parse_text(SCENARIO.replace("100/s", "100/s, arrivals: uniform")),
        "0" * 64,
        variants=("baseline",),
        rounds=1,
        settings=VIRTUAL,
        limits=Limits(),
    )
    run = RunDir(tmp_path_factory.mktemp("run"))
    rounds.begin(planned, run)
    (turn,) = planned.order
    place = run.trial(turn.round, turn.variant)
    trial.clear(place)
    found = execute(
        planned.round_plan(turn), VIRTUAL, place.path, lambda phase, share: None, Event()
    )
    _deal(place)
    evidence.ended(place, Written(turn.variant, turn.round, turn.pair, str(turn.seed), found))
    return run


def _deal(place: TrialDir) -> None:
    """The one spool of samples, as two workers would have left it."""
    (spool,) = place.samples_spools
    head, _, body = spool.read_bytes().partition(b"\n")
    document, size = json.loads(head), 2 * RECORD.itemsize
    for worker in (0, 1):
        first = worker * RECORD.itemsize
        records = [
            body[at + first : at + first + RECORD.itemsize] for at in range(0, len(body), size)
        ]
        mine = json.dumps({**document, "workers": 2, "worker": worker}).encode() + b"\n"
        (place.path / f"samples-{worker}.spool").write_bytes(mine + b"".join(records))
    spool.unlink()


@pytest.fixture
def run(whole: RunDir, tmp_path: Path) -> RunDir:
    copy = RunDir(tmp_path / "run")
    shutil.copytree(whole.path, copy.path)
    return copy


def place_of(run: RunDir) -> TrialDir:
    return run.trial(1, "baseline")


def read(run: RunDir) -> Trial:
    planned: RunPlan = plan.read(run)
    found = trial.read(run, planned, planned.order[0])
    assert found is not None
    return found


SETTLE = """
import os, signal, sys
from pathlib import Path
from hopbench.runs.directory import TrialDir
from hopbench.runs.trial import settle

place, event, left = TrialDir(Path(sys.argv[1])), sys.argv[2], int(sys.argv[3])

def killed(name, arguments):
    global left
    if name == event and str(place.path) in str(arguments[0]):
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1

sys.addaudithook(killed)
settle(place, "baseline")
"""
"""Is killed instead of the first, second… removal, or renaming, of a file of the trial."""


@pytest.mark.parametrize(
    ("event", "number", "tables", "spools"),
    [
        ("os.rename", 0, 0, 4),
        ("os.rename", 1, 1, 4),
        ("os.rename", 2, 2, 4),
        ("os.remove", 0, 3, 4),
        ("os.remove", 1, 3, 3),
        ("os.remove", 2, 3, 2),
        ("os.remove", 3, 3, 1),
    ],
)
def test_a_kill_while_tables_are_made_or_spools_removed_loses_nothing(
    run: RunDir, whole: RunDir, tmp_path: Path, *, event: str, number: int, tables: int, spools: int
) -> None:
    place = place_of(run)
    killed = subprocess.run(
        [sys.executable, "-c", SETTLE, str(place.path), event, str(number)], check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert len(list(place.path.glob("*.parquet"))) == tables
    assert len(place.spools) == spools

    unharmed = shutil.copytree(whole.path, tmp_path / "unharmed")
    expected = read(RunDir(unharmed))
    for _ in ("the next reading", "and the one after it"):
        found = read(run)
        assert found.samples.height == REQUESTS
        assert found.samples.equals(expected.samples)
        assert len(found.spans) == len(expected.spans) > 0
        assert found.spans.trace_ids.equals(expected.spans.trace_ids)
        assert found.points == expected.points != ()
        assert place.spools == ()


HOLD = """
import sys
from pathlib import Path
from hopbench.runs.directory import RunDir, claimed

with claimed(RunDir(Path(sys.argv[1]))):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held(run: RunDir) -> Iterator[None]:
    """Another process is at work there."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(run.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        yield


@pytest.mark.parametrize("command", ["report", "analyze", "critical-path"])
def test_a_run_that_another_hopbench_holds_is_read_by_nobody_else(
    run: RunDir, command: str, capfd: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    with held(run):
        assert invoke(command, run.path) == Exit.BAD_INPUT
        assert "another hopbench is at work" in capfd.readouterr().err
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before
    assert invoke(command, run.path) == Exit.DONE
    assert place_of(run).samples.is_file()
