"""Between Locust and the generator: who starts it, who stops it, and who is told.

Under the bench (HOPBENCH_CONTROL_FD) there is one round, started over the control socket, and the
process ends with it. By hand, every press of Start is a round of its own: the same schedule, under
new trace ids, into a spool of its own.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from time import monotonic_ns
from typing import Any, Final

import gevent
from locust.env import Environment

from loadgen.control import Control
from loadgen.generator import Generator
from loadgen.plan import CONTROL_VARIABLE, Plan, located
from loadgen.samples import NOT_REACHED, OK, STATUSES
from services.death import die_with
from services.errors import CannotStart

_HEAD_START_NS: Final = 50_000_000
"""By hand: from the press of Start to the schedule's zero."""
_STOP_S: Final = 10.0
"""Stopping takes milliseconds; a disk that hangs must not keep the process."""
_MS: Final = 1e6
BROKEN: Final = 5
"""Exit code: a part could not start, or broke."""


class Session:
    """Everything between the start and the end of one Locust process."""

    def __init__(self, environment: Environment, variables: Mapping[str, str]) -> None:
        """Raises BadInput without a usable plan, CannotStart where an entry does not answer."""
        self._environment = environment
        self._plan = Plan.read(located(variables))
        self._rounds = 0
        self._running: gevent.Greenlet | None = None
        self._interrupted_by: int | None = None
        self.over = False
        """The round has ended; the load shape says so to Locust."""
        self._generator: Generator = Generator(self._plan, self._observe)
        self._names = [str(entry.target) for entry in self._plan.load.entries]
        self._kinds = [entry.protocol.upper() for entry in self._plan.load.entries]
        self._failures: list[Exception | None] = [
            None if status == OK else RuntimeError(name) for status, name in enumerate(STATUSES)
        ]
        self._fire: Any = environment.events.request.fire
        self._control: Control | None = None
        fd = variables.get(CONTROL_VARIABLE)
        if fd is not None:
            # The socket tells when the bench is gone; this acts even when nobody reads it.
            die_with(os.getppid(), signal.SIGTERM)
            self._control = Control(int(fd), self._leave)
        self._terminated = gevent.get_hub().loop.signal(signal.SIGTERM)
        self._terminated.start(self._note_sigterm)
        self._open()

    def play(self) -> None:
        """Run one round: Locust's only user does this, and nothing else."""
        if self._rounds:
            self._plan = _again(self._plan, self._rounds)
            self._generator = Generator(self._plan, self._observe)
            self._open()
        self._rounds += 1
        self.over = False
        running = self._running = gevent.spawn(self._round)
        try:
            running.join()
        finally:
            # Killed: Locust's Stop button, or its end.
            self.stop()
        self.over = True
        gevent.spawn(self._end)

    def stop(self) -> None:
        """End the running round early, and wait until its samples are written."""
        self._generator.stop()
        if self._running is not None:
            self._running.join(timeout=_STOP_S)

    def quit(self) -> None:
        """Locust is quitting: end what runs, and set the exit code."""
        if self._running is not None and not self._running.dead:
            self._interrupted_by = self._interrupted_by or signal.SIGINT
            self.stop()
        if self._interrupted_by is not None and self._environment.process_exit_code is None:
            self._environment.process_exit_code = 128 + self._interrupted_by

    def _open(self) -> None:
        try:
            self._generator.open()
        except CannotStart as error:
            if self._control is not None:
                self._control.send({"broken": str(error)})
            raise
        if self._control is not None:
            self._control.send({"ready": True})

    def _round(self) -> None:
        control = self._control
        if control is None:
            start_ns: int | None = monotonic_ns() + _HEAD_START_NS
        else:
            start_ns = control.start_ns()
        if start_ns is None:
            return
        counts = self._generator.run(start_ns, None if control is None else self._tell)
        self._generator.close()
        if counts.broken is not None:
            print(f"generator: {counts.broken}", file=sys.stderr)
            self._environment.process_exit_code = BROKEN
        elif counts.complete:
            # Failed requests are a result of the round, not of the generator.
            self._environment.process_exit_code = 0
        if control is not None:
            control.send({"finished": asdict(counts)})

    def _tell(self, sent: int, ended: int) -> None:
        if self._control is not None:
            self._control.send({"progress": sent, "done": ended})

    def _end(self) -> None:
        """Let Locust end the test now; its shape would look again only within a second."""
        runner: Any = self._environment.runner
        options: Any = self._environment.parsed_options
        shape = runner.shape_greenlet
        if (options.headless or options.autostart) and shape is not None:
            # Locust's main greenlet waits for the shape, and stops or quits when it ends.
            shape.kill(block=False)
        else:
            runner.stop()

    def _leave(self, gone: bool) -> None:
        if gone:
            self._interrupted_by = signal.SIGTERM
        elif self._environment.process_exit_code is None:
            self._environment.process_exit_code = 0
        self.stop()

    def _note_sigterm(self) -> None:
        self._interrupted_by = signal.SIGTERM

    def _observe(self, row: int, status: int, response_ns: int, response_bytes: int) -> None:
        entry = self._generator.entries[row]
        self._fire(
            request_type=self._kinds[entry],
            name=self._names[entry],
            response_time=None if response_ns == NOT_REACHED else response_ns / _MS,
            response_length=response_bytes,
            exception=self._failures[status],
            context={},
        )


def _again(plan: Plan, rounds: int) -> Plan:
    samples = plan.samples
    return replace(
        plan,
        trace_salt=plan.trace_salt + rounds,
        samples=samples.with_name(f"{samples.stem}-{rounds + 1}{samples.suffix}"),
    )
