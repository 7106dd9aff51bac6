"""One worker's round, whole: schedule, senders, spool, dispatcher, and what watches over them.

Entries over Kafka are sent by a process beside this one (loadgen/kafka/entries.py), from the same
schedule.
"""

from __future__ import annotations

import gc
import time
from array import array
from collections.abc import Callable
from functools import partial
from time import monotonic_ns
from typing import Final

import gevent
import numpy as np
from gevent.event import Event

from loadgen import sending
from loadgen.counts import BEAT_NS, Counts, core_wait_ns, spread, together
from loadgen.kafka.entries import KafkaEntries
from loadgen.plan import Plan, in_flight_parts, over_kafka
from loadgen.samples import DROPPED, ERROR, OK, TIMEOUT
from loadgen.schedule import Schedule, select
from loadgen.sending.asks import Asks
from loadgen.sending.dispatcher import ClosedDispatcher, Dispatcher, Observe, OpenDispatcher
from loadgen.sending.timer import Timer
from loadgen.spool.recorder import Recorder, recorded
from services.errors import CannotStart
from services.scenario.pace import Closed
from services.system.cores import usable_cores
from services.system.promptness import be_prompt

_FLUSH_S: Final = 0.25
"""So much of the samples a ``kill -9`` can cost."""
_PROGRESS_S: Final = 0.5

Tell = Callable[[int, int], None]
"""Told twice a second: requests sent, requests ended."""


class Generator:
    """Made once for a round: :meth:`open`, :meth:`run`, :meth:`close`."""

    def __init__(self, plan: Plan, observe: Observe) -> None:
        self._plan = plan
        whole = plan.schedule()
        self.entries: list[int] = whole.entry.tolist()
        """By row of the worker's whole schedule, as ``observe`` names requests."""
        theirs = over_kafka(plan.load)
        self._kafka: KafkaEntries | None = None
        self._observe = observe
        self._schedule = whole
        if theirs:
            self._kafka = KafkaEntries(plan, observe, self._break)
            rows = np.flatnonzero(~np.isin(whole.entry, theirs))
            self._schedule = select(whole, rows)
            row_of: list[int] = rows.tolist()
            self._observe = lambda row, *how: observe(row_of[row], *how)
        self._senders = sending.of(plan, Asks(self._schedule, plan))
        self._dispatcher: Dispatcher | None = None
        self._stopped = False
        self._broken: str | None = None
        self._sends = _dispatcher(plan, self._schedule)

    def open(self) -> None:
        """Open every connection. Raises CannotStart where an entry does not answer."""
        if self._kafka is not None:
            self._kafka.begin()
        try:
            for sender in self._senders.values():
                sender.open()
        except CannotStart:
            if self._kafka is not None:
                self._kafka.close()
            raise
        if self._kafka is not None:
            self._kafka.open()
        # Before the start, not in it: what exists now lives as long as the round, and the
        # collector need not walk through it again.
        gc.collect()
        gc.freeze()
        # Last: what has been started keeps its own slices.
        be_prompt()

    def run(self, start_ns: int, tell: Tell | None = None) -> Counts:
        """Follow the schedule from ``start_ns`` (CLOCK_MONOTONIC) until the last request ended.

        Samples are in the spool when this returns. Raises OSError where the spool cannot be made.
        """
        plan = self._plan
        recorder = recorded(plan.samples, self._schedule, plan, start_ns)
        dispatcher = self._dispatcher = self._sends(
            entry=self._schedule.entry.tolist(),
            senders=self._senders,
            recorder=recorder,
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
            watchers.append(gevent.spawn(self._progress, dispatcher, tell, over))
        cpu, waited = time.process_time_ns(), core_wait_ns()
        kafka, theirs = self._kafka, None
        try:
            if kafka is not None:
                kafka.start(start_ns)
                if self._stopped:
                    kafka.stop()
            complete = dispatcher.run(start_ns)
            if kafka is not None:
                theirs = kafka.join()
            elapsed, cpu = monotonic_ns() - start_ns, time.process_time_ns() - cpu
            waited = None if waited is None else (core_wait_ns() or 0) - waited
        finally:
            over.set()
            gevent.joinall(watchers)
            self._write(recorder)
            recorder.close()
        tally = dispatcher.tally
        counts = Counts(
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
            core_share=cpu / elapsed if elapsed > 0 else None,
            core_wait_ns=waited,
            lag_ns=spread(tally.lag_ns),
            hub_lag_ns=spread(beats),
        )
        both = [counts] if theirs is None else [counts, theirs]
        return together(both, one_core=len(usable_cores()) == 1, broken=self._broken)

    def stop(self) -> None:
        """End the round early; :meth:`run` returns as soon as that is recorded."""
        self._stopped = True
        if self._dispatcher is not None:
            self._dispatcher.stop()
            if self._kafka is not None:
                self._kafka.stop()

    def close(self) -> None:
        if self._kafka is not None:
            self._kafka.close()
        for sender in self._senders.values():
            sender.close()
        gc.unfreeze()

    def _flush(self, recorder: Recorder, over: Event) -> None:
        pool = gevent.get_hub().threadpool
        while not over.wait(_FLUSH_S) and self._broken is None:
            try:
                recorder.flush(pool)
            except OSError as error:
                self._break(self._unwritten(error))

    def _write(self, recorder: Recorder) -> None:
        try:
            recorder.flush()
        except OSError as error:
            self._break(self._unwritten(error))

    def _unwritten(self, error: OSError) -> str:
        return f"cannot write samples to {self._plan.samples}: {error.strerror}"

    def _break(self, why: str) -> None:
        # Without samples, or a part of the load, the rest is worth nothing.
        self._broken = self._broken or why
        self.stop()

    def _progress(self, dispatcher: Dispatcher, tell: Tell, over: Event) -> None:
        kafka = self._kafka
        while not over.wait(_PROGRESS_S):
            sent, ended = dispatcher.tally.sent, dispatcher.tally.ended
            if kafka is not None:
                sent, ended = sent + kafka.sent, ended + kafka.ended
            tell(sent, ended)


def _dispatcher(plan: Plan, schedule: Schedule) -> Callable[..., Dispatcher]:
    """How the load's model sends the rows of ``schedule``; what it needs is made beforehand."""
    load, pace = plan.load, plan.load.pace
    if isinstance(pace, Closed):
        return partial(
            ClosedDispatcher,
            begins_ns=[] if over_kafka(load) else pace.begins_ns(plan.worker, plan.workers),
            thinking_ns=[pace.thinks_ns(key) for key in schedule.chance.tolist()],
            length_ns=load.length_ns,
        )
    due: list[int] = schedule.offset_ns.tolist()
    most = in_flight_parts(load, plan.max_in_flight)[0]
    return partial(OpenDispatcher, due_ns=due, max_in_flight=most)


def _beat(start_ns: int, lags: array[int], over: Event) -> None:
    timer = Timer(gevent.get_hub())
    due = start_ns
    while not over.is_set():
        due += BEAT_NS
        timer.until(due)
        now = monotonic_ns()
        lags.append(now - due)
        # After a stall the beats it swallowed are not made up for: the stall counts once.
        due = max(due, now - BEAT_NS)
    timer.close()
