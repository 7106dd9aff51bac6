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
from dataclasses import replace
from time import monotonic_ns
from typing import Any, Final

import gevent
from locust.env import Environment
from locust.stats import CSV_STATS_INTERVAL_SEC

from loadgen.cluster.control import Control
from loadgen.generator import Generator
from loadgen.messages import Broken, Finished, Progress, Ready
from loadgen.plan import CONTROL_VARIABLE, Plan, located
from loadgen.samples import NOT_REACHED
from loadgen.users import FAILURES
from services.errors import CannotStart
from services.system.death import BUG, die_with

_HEAD_START_NS: Final = 50_000_000
"""By hand: from the press of Start to the schedule's zero."""
_STOP_S: Final = 10.0
"""Stopping takes milliseconds; a disk that hangs must not keep the process."""
_MS: Final = 1e6
BROKEN: Final = 5
"""Exit codes: a part could not start, or broke; a bug in hopbench."""


class Session:
    """Everything between the start and the end of one Locust process."""

    def __init__(self, environment: Environment, variables: Mapping[str, str]) -> None:
        """Raises BadInput without a usable plan, CannotStart where an entry does not answer."""
        self._environment = environment
        self._options: Any = environment.parsed_options
        self._fire: Any = environment.events.request.fire
        self._plan = Plan.read(located(variables))
        entries = self._plan.load.entries
        self._names = [str(entry.target) for entry in entries]
        self._kinds = [entry.protocol.upper() for entry in entries]
        self._rounds = 0
        self._running: gevent.Greenlet | None = None
        self._terminated = False
        self._generator: Generator = Generator(self._plan, self._observe)
        self._control: Control | None = None
        fd = variables.get(CONTROL_VARIABLE)
        if fd is not None:
            # The socket tells when the bench is gone; this acts even when nobody reads it.
            die_with(os.getppid(), signal.SIGTERM)
            self._control = Control.inherited(int(fd), self.stop)
        self._sigterm = gevent.get_hub().loop.signal(signal.SIGTERM)
        self._sigterm.start(self._on_sigterm)
        self._open()

    def play(self) -> None:
        """Run one round: Locust's only user does this, and nothing else."""
        if self._rounds and not self._prepare_again():
            return
        self._rounds += 1
        running = self._running = gevent.spawn(self._round)
        try:
            running.join()
        except gevent.GreenletExit:
            # Locust's Stop button, or Locust's end, which SIGINT brings about as well.
            if not running.dead and (self._options.headless or self._options.autostart):
                self._exit(128 + (signal.SIGTERM if self._terminated else signal.SIGINT))
            self.stop()
            raise
        if isinstance(running.exception, OSError):
            self._broken(f"cannot write samples: {running.exception}", BROKEN)
        elif running.exception is not None:
            self._broken(repr(running.exception), BUG)
        gevent.spawn(self._end)

    def stop(self) -> None:
        """End the running round early, and wait until its samples are written."""
        if self._control is not None:
            self._control.abandon()
        self._generator.stop()
        if self._running is not None:
            self._running.join(timeout=_STOP_S)

    def quit(self) -> None:
        """Locust is quitting, perhaps in the middle of a round."""
        if self._running is not None and not self._running.dead:
            self._exit(128 + (signal.SIGTERM if self._terminated else signal.SIGINT))
            self.stop()

    def _open(self) -> None:
        try:
            self._generator.open()
        except CannotStart as error:
            self._broken(str(error), BROKEN)
            raise
        if self._control is not None:
            self._control.send(Ready())

    def _prepare_again(self) -> bool:
        plan = again(self._plan, self._rounds)
        self._generator = Generator(plan, self._observe)
        try:
            self._generator.open()
        except CannotStart as error:
            self._broken(str(error), BROKEN)
            gevent.spawn(self._end)
            return False
        return True

    def _round(self) -> None:
        control = self._control
        tell = None if control is None else self._tell
        start_ns: int | None = monotonic_ns() + _HEAD_START_NS
        if control is not None:
            start = control.start()
            start_ns = None if start is None else start.monotonic_ns()
        if start_ns is not None:
            counts = self._generator.run(start_ns, tell)
            if counts.broken is not None:
                self._broken(counts.broken, BROKEN)
            if control is not None:
                control.send(Finished(counts))
        self._generator.close()
        # Failed requests are a result of the round, not of the generator.
        self._exit(0)

    def _tell(self, sent: int, ended: int) -> None:
        if self._control is not None:
            self._control.send(Progress(sent, ended))

    def _end(self) -> None:
        end_test(self._environment)

    def _broken(self, why: str, code: int) -> None:
        print(f"hopbench: {why}", file=sys.stderr, flush=True)
        if self._control is not None:
            self._control.send(Broken(why))
        self._exit(code)

    def _exit(self, code: int) -> None:
        """The exit code, unless an earlier event has set one."""
        if self._environment.process_exit_code is None:
            self._environment.process_exit_code = code

    def _on_sigterm(self) -> None:
        """Runs in the hub. Locust listens to SIGTERM itself only once its shape has ended."""
        self._terminated = True
        if self._running is not None and not self._running.dead:
            self._exit(128 + signal.SIGTERM)
            gevent.spawn(self.stop)

    def _observe(self, row: int, status: int, response_ns: int, response_bytes: int) -> None:
        entry = self._generator.entries[row]
        self._fire(
            request_type=self._kinds[entry],
            name=self._names[entry],
            response_time=None if response_ns == NOT_REACHED else response_ns / _MS,
            response_length=response_bytes,
            exception=FAILURES[status],
            context={},
        )


def end_test(environment: Environment) -> None:
    """Let Locust end the test now; it would ask its shape again only within a second."""
    options: Any = environment.parsed_options
    if options.csv_prefix:
        # Its files are as old as its last look at the statistics.
        gevent.sleep(CSV_STATS_INTERVAL_SEC + 0.1)
    runner: Any = environment.runner
    shape = runner.shape_greenlet
    if (options.headless or options.autostart) and shape is not None:
        # Locust's main greenlet waits for the shape, and stops or quits when it ends.
        shape.kill(block=False)
    else:
        runner.stop()


def again(plan: Plan, rounds: int) -> Plan:
    """The plan of a later round by hand: new trace ids, and a spool of its own."""
    samples = plan.samples
    return replace(
        plan,
        trace_salt=plan.trace_salt + rounds,
        samples=samples.with_name(f"{samples.stem}-{rounds + 1}{samples.suffix}"),
    )
