"""The open-loop dispatcher: sends every request when it is due, whatever became of those before.

One greenlet waits on an absolute timer and spawns a greenlet for each arrival, at most
``max_in_flight`` of them at once; what comes above is dropped and counted, never delayed. What can
be made beforehand (the message) is made before the wait; what can be done afterwards (records,
files) is done by others.

Late arrivals are sent at once. How late is the round's lag, and shows in the samples.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic_ns
from typing import Any, Final

import gevent
from gevent.event import Event

from loadgen.samples import DROPPED, ERROR, NOT_REACHED, STATUSES
from loadgen.sending.port import Answer, Message, Sender
from loadgen.sending.timer import Timer
from loadgen.spool.recorder import Ended, Recorder

_BURST: Final = 16
"""So many late arrivals are spawned before the hub may start them; more would starve it."""
_NO_ANSWER: Final = Answer(ERROR, -1, 0, False)

Observe = Callable[[int, int, int, int], None]
"""Called as each request ends: schedule row, status, response time in ns (NOT_REACHED for
dropped), response bytes."""


@dataclass(slots=True)
class Tally:
    """Counts of one worker's round, as it goes on."""

    sent: int = 0
    ended: int = 0
    """With an answer, an error, a timeout or a drop."""
    by_status: list[int] = field(default_factory=lambda: [0] * len(STATUSES))
    lag_ns: array[int] = field(default_factory=lambda: array("q"))
    """Sent minus intended, of those sent."""


class Dispatcher:
    """Sends the rows of one schedule, once.

    ``due_ns`` are offsets from the schedule's zero; ``entry[row]`` picks the sender.
    """

    def __init__(
        self,
        *,
        due_ns: Sequence[int],
        entry: Sequence[int],
        senders: Mapping[int, Sender],
        recorder: Recorder,
        max_in_flight: int,
        observe: Observe,
    ) -> None:
        self.tally = Tally()
        self._due = due_ns
        self._entry = entry
        self._senders = senders
        self._recorder = recorder
        self._max_in_flight = max_in_flight
        self._observe = observe
        self._timer = Timer(gevent.get_hub())
        self._live: dict[int, Any] = {}
        """Greenlets in flight, by schedule row."""
        self._idle = Event()
        self._stopped = False

    def run(self, start_ns: int) -> bool:
        """Send everything, and wait until nothing is in flight.

        ``start_ns`` is the monotonic time of the schedule's zero. False when :meth:`stop` ended it
        early.
        """
        try:
            self._send_all(start_ns)
        finally:
            self._timer.close()
        while self._live:
            self._idle.clear()
            self._idle.wait()
        return not self._stopped

    def stop(self) -> None:
        """Send nothing more, and cut what is in flight; it is recorded as an error without code.

        Only asks for it; :meth:`run` returns when it is done.
        """
        self._stopped = True
        self._timer.wake()
        for live in list(self._live.values()):
            # A greenlet that has not begun yet begins first: callbacks of the hub keep their order.
            gevent.kill(live)

    def _send_all(self, start_ns: int) -> None:
        live = self._live
        late = 0
        for row, (offset, entry) in enumerate(zip(self._due, self._entry, strict=True)):
            message = self._senders[entry].prepare(row)
            due = start_ns + offset
            if self._timer.until(due):
                late = 0
            else:
                late += 1
                if late % _BURST == 0:
                    gevent.sleep(0)
            if self._stopped:
                return
            if len(live) >= self._max_in_flight:
                self._end((row, NOT_REACHED, NOT_REACHED, DROPPED, -1, 0), NOT_REACHED)
            else:
                live[row] = gevent.spawn_raw(self._request, row, due, message)

    def _request(self, row: int, due: int, message: Message) -> None:
        tally = self.tally
        tally.sent += 1
        sent = monotonic_ns()
        answer = _NO_ANSWER
        try:
            line = message.line()
            if line is not None:
                sent = monotonic_ns()
                answer = line.exchange()
        finally:
            # Also when the greenlet is killed, which raises in the middle of an exchange.
            now = monotonic_ns()
            tally.lag_ns.append(sent - due)
            done = now if answer.answered else NOT_REACHED
            ended = (row, sent, done, answer.status, answer.code, answer.response_bytes)
            self._end(ended, now - due)
            del self._live[row]
            if not self._live:
                self._idle.set()

    def _end(self, ended: Ended, response_ns: int) -> None:
        self._recorder.add(ended)
        self.tally.ended += 1
        self.tally.by_status[ended[3]] += 1
        self._observe(ended[0], ended[3], response_ns, ended[5])
