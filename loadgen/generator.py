"""One worker's round, whole: schedule, senders, spool, dispatcher, and what watches over them."""

from __future__ import annotations

import gc
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic_ns
from typing import Final

import gevent
import numpy as np
from gevent.event import Event

from loadgen import senders
from loadgen.dispatcher import Dispatcher, Observe
from loadgen.heads import Heads
from loadgen.plan import Plan
from loadgen.recorder import Recorder, header, known
from loadgen.samples import DROPPED, ERROR, OK, TIMEOUT
from loadgen.timer import Timer

_FLUSH_S: Final = 0.25
"""So much of the samples a ``kill -9`` can cost."""
_BEAT_NS: Final = 5_000_000
_PROGRESS_S: Final = 0.5

Tell = Callable[[int, int], None]
"""Told twice a second: requests sent, requests ended."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Quantiles in ns; None where there is no value at all."""

    n: int
    p50: int | None
    p99: int | None
    max: int | None


@dataclass(frozen=True, slots=True)
class Counts:
    """What the generator says of its round when it has finished."""

    scheduled: int
    sent: int
    ok: int
    error: int
    timeout: int
    dropped: int
    complete: bool
    """Everything was sent and ended; False when the round was stopped or broke."""
    broken: str | None
    """Why the generator itself could not go on."""
    start_ns: int
    elapsed_ns: int
    """From the schedule's zero to the last end."""
    cpu_ns: int
    """Of this process, all threads, in that time."""
    core_wait_ns: int | None
    """How long the dispatcher's thread was ready to run and had no core; None where unknown."""
    lag_ns: Spread
    """Sent minus intended, warm-up included."""
    hub_lag_ns: Spread
    """How late a 5 ms heartbeat ran: how long something else kept the hub."""


class Generator:
    """Made once for a round: :meth:`open`, :meth:`run`, :meth:`close`."""

    def __init__(self, plan: Plan, observe: Observe) -> None:
        self._plan = plan
        self._schedule = plan.schedule()
        self._senders = senders.of(plan, Heads(self._schedule, plan))
        self._observe = observe
        self._dispatcher: Dispatcher | None = None
        self._stopped = False
        self._broken: str | None = None
        self._due: list[int] = self._schedule.offset_ns.tolist()
        self.entries: list[int] = self._schedule.entry.tolist()
        """By schedule row, as ``observe`` names requests."""

    def open(self) -> None:
        """Open every connection. Raises CannotStart where an entry does not answer."""
        for sender in self._senders:
            sender.open()
        # Before the start, not in it: what exists now lives as long as the round, and the
        # collector need not walk through it again.
        gc.collect()
        gc.freeze()

    def run(self, start_ns: int, tell: Tell | None = None) -> Counts:
        """Follow the schedule from ``start_ns`` (CLOCK_MONOTONIC) until the last request ended.

        Samples are in the spool when this returns. Raises OSError where the spool cannot be made.
        """
        plan = self._plan
        records = known(self._schedule, plan, start_ns)
        recorder = Recorder(plan.samples, header(plan, start_ns), records)
        dispatcher = self._dispatcher = Dispatcher(
            due_ns=self._due,
            entry=self.entries,
            senders=self._senders,
            recorder=recorder,
            max_in_flight=plan.max_in_flight,
            observe=self._observe,
        )
        if self._stopped:
            dispatcher.stop()
        over = Event()
        beats = array("q")
        watchers = [
            gevent.spawn(self._flush, recorder, over),
            gevent.spawn(_beat, max(start_ns, monotonic_ns()), beats, over),
        ]
        if tell is not None:
            watchers.append(gevent.spawn(_progress, dispatcher, tell, over))
        cpu, waited = time.process_time_ns(), _core_wait_ns()
        try:
            complete = dispatcher.run(start_ns)
            elapsed, cpu = monotonic_ns() - start_ns, time.process_time_ns() - cpu
            waited = None if waited is None else (_core_wait_ns() or 0) - waited
        finally:
            over.set()
            gevent.joinall(watchers)
            self._write(recorder)
            recorder.close()
        tally = dispatcher.tally
        return Counts(
            scheduled=len(self._schedule),
            sent=tally.sent,
            ok=tally.by_status[OK],
            error=tally.by_status[ERROR],
            timeout=tally.by_status[TIMEOUT],
            dropped=tally.by_status[DROPPED],
            complete=complete and self._broken is None,
            broken=self._broken,
            start_ns=start_ns,
            elapsed_ns=elapsed,
            cpu_ns=cpu,
            core_wait_ns=waited,
            lag_ns=_spread(tally.lag_ns),
            hub_lag_ns=_spread(beats),
        )

    def stop(self) -> None:
        """End the round early; :meth:`run` returns as soon as that is recorded."""
        self._stopped = True
        if self._dispatcher is not None:
            self._dispatcher.stop()

    def close(self) -> None:
        for sender in self._senders:
            sender.close()
        gc.unfreeze()

    def _flush(self, recorder: Recorder, over: Event) -> None:
        pool = gevent.get_hub().threadpool
        while not over.wait(_FLUSH_S) and self._broken is None:
            try:
                recorder.flush(pool)
            except OSError as error:
                self._break(error)

    def _write(self, recorder: Recorder) -> None:
        try:
            recorder.flush()
        except OSError as error:
            self._break(error)

    def _break(self, error: OSError) -> None:
        # Without samples the load is worth nothing: end the round and say why.
        self._broken = f"cannot write samples to {self._plan.samples}: {error.strerror}"
        self.stop()


def _beat(start_ns: int, lags: array[int], over: Event) -> None:
    timer = Timer(gevent.get_hub())
    due = start_ns
    while not over.is_set():
        due += _BEAT_NS
        timer.until(due)
        now = monotonic_ns()
        lags.append(now - due)
        # After a stall the beats it swallowed are not made up for: the stall counts once.
        due = max(due, now - _BEAT_NS)
    timer.close()


def _progress(dispatcher: Dispatcher, tell: Tell, over: Event) -> None:
    while not over.wait(_PROGRESS_S):
        tell(dispatcher.tally.sent, dispatcher.tally.ended)


def _core_wait_ns() -> int | None:
    """Of the main thread so far: the second field of proc's schedstat."""
    try:
        return int(Path("/proc/self/schedstat").read_text().split()[1])
    except OSError:
        return None


def _spread(values: array[int]) -> Spread:
    if not values:
        return Spread(n=0, p50=None, p99=None, max=None)
    p50, p99, worst = np.quantile(np.array(values), (0.5, 0.99, 1.0), method="higher")
    return Spread(n=len(values), p50=int(p50), p99=int(p99), max=int(worst))
