"""A run directory: where everything that a run leaves behind lies.

runs/<time>-<name>/
  plan.json             what was to run: settings, order, seeds (hopbench.run-plan/2)
  scenario.yaml         the resolved scenario; scenario-<arm>.yaml of a second file
  environment.json      of its first round; each round has its own
  logs/                 of what stays for the whole run
  trials/NN-<variant>/  trial.json, environment.json, spools, samples.parquet, spans.parquet,
                        metrics.parquet, doubts.json, logs/
  findings.json summary.json report.html report.md
  verdict.json repeated.json rounds.html of a comparison
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from hopbench import disk
from services.errors import BadInput, CannotStart

RUNS = "runs"
PROOF_PLAN = "proof-plan.json"
"""What makes a directory a proof's (hopbench/proving/directory.py)."""


@dataclass(frozen=True, slots=True)
class TrialDir:
    path: Path

    @property
    def evidence(self) -> Path:
        return self.path / "trial.json"

    @property
    def doubts(self) -> Path:
        return self.path / "doubts.json"

    @property
    def samples_spools(self) -> tuple[Path, ...]:
        """One of a single generator, one of each worker and child."""
        return tuple(sorted(self.path.glob("samples*.spool")))

    @property
    def traces_spool(self) -> Path:
        return self.path / "traces.otlp"

    @property
    def jaeger_spool(self) -> Path:
        return self.path / "traces.jaeger"

    @property
    def metrics_spool(self) -> Path:
        return self.path / "metrics.otlp"

    @property
    def samples(self) -> Path:
        return self.path / "samples.parquet"

    @property
    def spans(self) -> Path:
        return self.path / "spans.parquet"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.parquet"

    @property
    def environment(self) -> Path:
        return self.path / "environment.json"

    @property
    def settled(self) -> Path:
        """Made when every table stands, before the first spool goes."""
        return self.path / ".settled"

    @property
    def spools(self) -> tuple[Path, ...]:
        """All that are there."""
        others = (self.traces_spool, self.jaeger_spool, self.metrics_spool)
        return (*self.samples_spools, *(path for path in others if path.is_file()))


@dataclass(frozen=True, slots=True)
class RunDir:
    path: Path

    @property
    def plan(self) -> Path:
        return self.path / "plan.json"

    @property
    def scenario(self) -> Path:
        return self.path / "scenario.yaml"

    def other(self, arm: str) -> Path:
        """The scenario of an arm that is of another file."""
        return self.path / f"scenario-{arm}.yaml"

    @property
    def environment(self) -> Path:
        return self.path / "environment.json"

    @property
    def findings(self) -> Path:
        return self.path / "findings.json"

    @property
    def summary(self) -> Path:
        return self.path / "summary.json"

    @property
    def verdict(self) -> Path:
        """Of a comparison."""
        return self.path / "verdict.json"

    @property
    def repeated(self) -> Path:
        """Of a comparison: the blocks that were measured once more, and why."""
        return self.path / "repeated.json"

    @property
    def resumed(self) -> Path:
        """Made when a comparison goes on after it had stopped."""
        return self.path / ".resumed"

    @property
    def trials(self) -> Path:
        return self.path / "trials"

    def trial(self, number: int, variant: str) -> TrialDir:
        """``number`` counts rounds from 1 over the whole run."""
        return TrialDir(self.trials / f"{number:02d}-{variant}")


def create(name: str, now: datetime, out: Path | None) -> RunDir:
    """A new run directory, as of :func:`made`."""
    run = RunDir(made(name, now, out))
    run.trials.mkdir()
    return run


def made(name: str, now: datetime, out: Path | None) -> Path:
    """A new directory: ``out`` itself where given (absent or empty), else one under ``runs/``.

    Raises BadInput when ``out`` holds something, or cannot be made, CannotStart, and OSError.
    """
    if out is not None:
        try:
            out.mkdir(parents=True, exist_ok=True)
            taken = any(out.iterdir())
        except OSError as error:
            refusal = disk.refusal(error)
            if isinstance(refusal, CannotStart):
                raise refusal from error
            hint = "name a new directory" if refusal is None else refusal.hint
            raise BadInput(f"--out {out}: {error.strerror}", hint=hint) from error
        if taken:
            raise BadInput(
                f"--out {out} is not empty",
                hint=f"name a new directory, or go on with that run: --resume {out}",
            )
        return out
    Path(RUNS).mkdir(exist_ok=True)
    for path in _names(name, now):
        with suppress(FileExistsError):
            path.mkdir()
            return path
    raise AssertionError("names never end")


def _names(name: str, now: datetime) -> Iterator[Path]:
    base = Path(RUNS) / f"{now:%Y%m%d-%H%M%S}-{name}"
    yield base
    number = 2
    while True:
        yield base.with_name(f"{base.name}-{number}")
        number += 1


def discard(run: RunDir) -> None:
    """A run that could not start has nothing to keep: what went wrong has been told."""
    shutil.rmtree(run.path, ignore_errors=True)


def opened(path: Path) -> RunDir:
    """An existing run directory. Raises BadInput where ``path`` is none, and PermissionError."""
    run = RunDir(path)
    # Unlike Path's, these are False for what cannot be a name, or is closed to us.
    if not os.path.isfile(run.plan):
        if os.path.isdir(path) and not os.access(path, os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        if os.path.isfile(path / PROOF_PLAN):
            raise BadInput(
                f"{path} is a proof's: its stages are run directories",
                hint=f"told again: hopbench prove --resume {path}",
            )
        there = os.path.exists(path)
        what = "is no run directory (plan.json is missing)" if there else "does not exist"
        raise BadInput(f"{path} {what}", hint="a run directory is what `hopbench run` prints last")
    return run


def must_take(run: RunDir) -> None:
    """Raises BadInput or CannotStart where nothing new can be written into it."""
    try:
        disk.must_take(run.path)
    except OSError as error:
        raise disk.refusal(error, instead="copy it, and name the copy") or error from error


@contextmanager
def claimed(run: RunDir) -> Iterator[None]:
    """Nobody else runs rounds here meanwhile, or makes tables out of what they left. Raises
    BadInput where somebody does.

    The lock is the kernel's, on plan.json: it goes with the process, however that ends.
    """
    with at_work(run.plan, run.path):
        yield


@contextmanager
def at_work(plan: Path, place: Path) -> Iterator[None]:
    """The same, of whatever ``plan`` is the plan of."""
    with plan.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BadInput(
                f"another hopbench is at work in {place}", hint="wait until it has ended"
            ) from None
        yield
