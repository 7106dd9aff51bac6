"""Real ``hopbench`` processes, seen from outside: in which phase they are, and what they leave.

Every process that a bench starts works in the directory that the bench was started in, or below
it, so that all of them are found in /proc, whatever they call themselves and whoever their parent
is by then. Their environment tells nothing: a title is written over it.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import monotonic_ns
from typing import Any, Literal, TypeVar

from loadgen.samples import RECORD

T = TypeVar("T")
Phase = Literal["starting", "warm-up", "measuring", "draining", "reading", "reporting", "ended"]

GONE_S = 15.0
"""From the end of a bench to the end of everything that it started."""
PHASE_S = 60.0
"""A round on a busy machine takes 10 s."""
_LOOK_S = 0.002

SCENARIO = """\
version: 1
name: small
seed: 7
services:
  gateway:
    operations:
      buy:
        - {call: stock.reserve, count: 4}
        - {publish: notify.send}
  stock:
    operations:
      reserve:
        - sleep: 1ms
  notify:
    operations:
      send:
        - sleep: 1ms
load: {rate: 40/s, warmup: 400ms, duration: 1300ms, entry: gateway.buy}
variants:
  batched: {refactors: [{op: batch, edge: gateway->stock.reserve, size: 4}]}
"""
SLOW_TO_DRAIN = SCENARIO.replace("send:\n        - sleep: 1ms", "send:\n        - sleep: 4s")
"""Its consumers are still at work when the load has ended."""


def alive(site: Path) -> dict[int, str]:
    """Every living process that works in ``site`` or below it: pid → command line."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if not (entry / "cwd").readlink().is_relative_to(site):
                continue
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if line:  # a zombie has none
            found[int(entry.name)] = line
    return found


def wait_for(what: str, look: Callable[[], T | None], bound_s: float = PHASE_S) -> T:
    """The first answer of ``look`` that is not None; fails with ``what`` after ``bound_s``."""
    until = time.monotonic() + bound_s
    while (found := look()) is None:
        if time.monotonic() > until:
            raise AssertionError(f"within {bound_s:g} s there was no {what}")
        time.sleep(_LOOK_S)
    return found


@dataclass(frozen=True, slots=True)
class Ended:
    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """What ``--json -`` printed."""
        found: dict[str, Any] = json.loads(self.out)
        return found


def doubt(trial: Mapping[str, Any], code: str) -> str:
    """Text of the first doubt of that code in an entry of ``trials[]``; empty for none."""
    found: list[str] = [each["text"] for each in trial["doubts"] if each["code"] == code]
    return found[0] if found else ""


class Bench:
    """One ``hopbench`` command that runs. Use :class:`Site` to start one."""

    def __init__(self, process: subprocess.Popen[bytes], site: Path, run: Path, out: Path) -> None:
        self.process = process
        self.site = site
        self.run = run
        """The run directory, where the command makes or has one."""
        self._out = out

    @property
    def pid(self) -> int:
        return self.process.pid

    def phase(self) -> Phase:
        """As the files of the run directory tell it, for the first round that has not ended."""
        if (self.run / "summary.json").is_file():
            return "reporting"
        trial = self.trial()
        if trial is None:
            return "starting"
        if (trial / "trial.json").is_file():
            return "reading"
        start_ns = _start_ns(trial)
        if start_ns is None:
            return "starting"
        plan = json.loads((self.run / "plan.json").read_bytes())
        since_s = (monotonic_ns() - start_ns) / 1e9
        if since_s < plan["warmup_s"]:
            return "warm-up"
        return "measuring" if since_s < plan["warmup_s"] + plan["duration_s"] else "draining"

    def trial(self) -> Path | None:
        """The directory of the latest round."""
        found = sorted(self.run.glob("trials/*"))
        return found[-1] if found else None

    def has_trial(self, number: int) -> bool:
        return any(self.run.glob(f"trials/{number:02d}-*"))

    def until(self, phase: Phase) -> None:
        """Wait for ``phase``; a round under way has then begun it."""
        self.wait(f"phase {phase!r}", lambda: True if self._is_in(phase) else None)

    def _is_in(self, phase: Phase) -> bool:
        if phase == "starting":
            # Some of the parts are there, not all.
            return self.phase() == phase and any("hopbench: node" in a for a in self.parts())
        if phase == "measuring":
            # Far enough that there is something to lose, of every kind.
            return self.phase() == phase and self.recorded() > 25 and self.received() > 0
        return self.phase() == phase

    def recorded(self) -> int:
        """Requests in the spools of the latest round."""
        trial = self.trial()
        return 0 if trial is None else sum(map(_records, trial.glob("samples*.spool")))

    def received(self) -> int:
        """Bytes of spans in the spool of the latest round."""
        trial = self.trial()
        spool = None if trial is None else trial / "traces.otlp"
        return 0 if spool is None or not spool.is_file() else spool.stat().st_size

    def parts(self) -> list[str]:
        """The command lines of what it has started."""
        return [line for pid, line in alive(self.site).items() if pid != self.pid]

    def pid_of(self, part: str) -> int:
        """Of the one process with ``part`` in its title or command line."""
        found = {pid: line for pid, line in alive(self.site).items() if part in line}
        assert len(found) == 1, (part, found)
        return next(iter(found))

    def wait(self, what: str, look: Callable[[], T | None], bound_s: float = PHASE_S) -> T:
        """:func:`wait_for`, which fails at once where the command has ended."""

        def looked() -> T | None:
            found = look()
            if found is None and self.process.poll() is not None:
                raise AssertionError(f"ended before {what}:\n{self._text('err')}")
            return found

        return wait_for(what, looked, bound_s)

    def has_loaded(self, library: str) -> bool:
        """Whether a compiled module of ``library`` is in its memory."""
        try:
            return f"/{library}" in Path(f"/proc/{self.pid}/maps").read_text()
        except ProcessLookupError:
            return False

    def said(self) -> str:
        """What it has written to standard output, up to the last whole line."""
        return self._text("out").rpartition("\n")[0]

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self, bound_s: float = PHASE_S) -> Ended:
        """Wait until it has ended, and until nothing of it is left."""
        code = self.process.wait(bound_s)
        wait_for(f"end of {alive(self.site)}", lambda: None if alive(self.site) else True, GONE_S)
        return Ended(code, self._text("out"), self._text("err"))

    def _text(self, which: str) -> str:
        return self._out.with_suffix(f".{which}").read_text("utf-8", "replace")


class Site:
    """A directory to run commands in, one at a time; whatever they leave running is killed by
    :meth:`clear`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._started: list[subprocess.Popen[bytes]] = []

    def scenario(self, text: str = SCENARIO, name: str = "small.yaml") -> Path:
        path = self.path / name
        path.write_text(text)
        return path

    def start(
        self,
        *arguments: object,
        run: Path | None = None,
        variables: Mapping[str, str] | None = None,
        before: Callable[[], None] | None = None,
        stdin: bytes | None = None,
    ) -> Bench:
        """``hopbench arguments``; ``run`` is the directory that it makes or continues."""
        out = self.path / f"said-{len(self._started) + 1}"
        with (
            out.with_suffix(".out").open("wb") as stdout,
            out.with_suffix(".err").open("wb") as stderr,
        ):
            process = subprocess.Popen(
                [sys.executable, "-m", "hopbench", *map(str, arguments)],
                cwd=self.path,
                env={**os.environ, **(variables or {})},
                stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
                stdout=stdout,
                stderr=stderr,
                preexec_fn=before,  # noqa: PLW1509  # no other thread here; it sets a limit
                start_new_session=True,
            )
        self._started.append(process)
        if stdin is not None and process.stdin is not None:
            process.stdin.write(stdin)
            process.stdin.close()
        return Bench(process, self.path, run or self.path / "run", out)

    def run(self, *arguments: object, **named: Any) -> Ended:
        return self.start(*arguments, **named).end()

    def clear(self) -> None:
        for pid in alive(self.path):
            os.kill(pid, signal.SIGKILL)
        for process in self._started:
            process.wait(GONE_S)


def _records(spool: Path) -> int:
    """Whole ones, behind the header."""
    try:
        _, _, body = spool.read_bytes().partition(b"\n")
    except FileNotFoundError:  # read back, and gone
        return 0
    return len(body) // RECORD.itemsize


def _start_ns(trial: Path) -> int | None:
    """The schedule's zero, out of the header of a spool that is being written."""
    for spool in trial.glob("samples*.spool"):
        try:
            with spool.open("rb") as file:
                head = file.readline()
        except FileNotFoundError:
            continue
        if found := re.search(rb'"start_ns": (\d+)', head):
            return int(found[1])
    return None
