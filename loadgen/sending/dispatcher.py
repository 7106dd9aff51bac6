"""Dispatchers: they send the rows of a schedule, each in a greenlet of its own.

The open one sends every request when it is due, whatever became of those before, at most
``max_in_flight`` at once; what comes above is dropped and counted, never delayed. Late arrivals are
sent at once. How late is the round's lag, and shows in the samples.

The closed one has users, who take the rows in order: a request is due when it is sent, which is as
soon as its user is ready and this process comes to it.

One greenlet waits on an absolute timer and spawns the others. What can be made beforehand (the
message) is made before the wait; what can be done afterwards (records, files) is done by others.
"""

from __future__ import annotations

import heapq
from abc import ABC, abstractmethod
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
    """Sent minus intended, of those sent by an open load."""


class Dispatcher(ABC):
    """Sends the rows of one schedule, once. ``entry[row]`` picks the sender."""

    def __init__(
        self,
        *,
        entry: Sequence[int],
        senders: Mapping[int, Sender],
        recorder: Recorder,
        observe: Observe,
    ) -> None:
        self.tally = Tally()
        self._entry = entry
        self._senders = senders
        self._recorder = recorder
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

    @abstractmethod
    def _send_all(self, start_ns: int) -> None:
        """Spawn all, until there is no more or :meth:`stop` was called."""

    def _exchange(self, row: int, message: Message, due: int | None) -> int:
        """Send and record; the time of its end. ``due`` None: it is due when it is sent."""
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
            if due is None:
                due = sent
            else:
                tally.lag_ns.append(sent - due)
            done = now if answer.answered else NOT_REACHED
            ended = (row, sent, done, answer.status, answer.code, answer.response_bytes)
            self._end(ended, now - due)
            del self._live[row]
            if not self._live:
                self._idle.set()
        return now

    def _end(self, ended: Ended, response_ns: int) -> None:
        self._recorder.add(ended)
        self.tally.ended += 1
        self.tally.by_status[ended[3]] += 1
        self._observe(ended[0], ended[3], response_ns, ended[5])


class OpenDispatcher(Dispatcher):
    """``due_ns`` are offsets from the schedule's zero."""

    def __init__(self, *, due_ns: Sequence[int], max_in_flight: int, **whole: Any) -> None:
        super().__init__(**whole)
        self._due = due_ns
        self._max_in_flight = max_in_flight

    def _send_all(self, start_ns: int) -> None:
        live = self._live
        for row, (offset, entry) in enumerate(zip(self._due, self._entry, strict=True)):
            message = self._senders[entry].prepare(row)
            due = start_ns + offset
            self._timer.until(due)
            if self._stopped:
                return
            if len(live) >= self._max_in_flight:
                self._end((row, NOT_REACHED, NOT_REACHED, DROPPED, -1, 0), NOT_REACHED)
            else:
                live[row] = gevent.spawn_raw(self._exchange, row, message, due)
            # It leaves before the next one is made ready; and where all are late, the hub goes on.
            gevent.sleep(0)


class ClosedDispatcher(Dispatcher):
    """``begins_ns[user]`` and ``length_ns``, when nobody begins a request any more, are offsets
    from the schedule's zero; ``thinking_ns[row]`` passes between an answer and that user's next
    request."""

    def __init__(
        self, *, begins_ns: Sequence[int], thinking_ns: Sequence[int], length_ns: int, **whole: Any
    ) -> None:
        super().__init__(**whole)
        self._ready = list(begins_ns)
        """When users who have no request in flight are ready, as a heap."""
        self._thinking = thinking_ns
        self._length = length_ns

    def _send_all(self, start_ns: int) -> None:
        self._ready = [start_ns + begins for begins in self._ready]
        heapq.heapify(self._ready)
        over = start_ns + self._length
        for row, entry in enumerate(self._entry):
            message = self._senders[entry].prepare(row)
            if not self._somebody(over):
                return
            self._live[row] = gevent.spawn_raw(self._request, row, message)
            gevent.sleep(0)

    def _somebody(self, over: int) -> bool:
        """Wait for a user; false where the time is over before one is ready."""
        while not self._stopped:
            now, ready = monotonic_ns(), self._ready
            if now >= over:
                return False
            if ready and ready[0] <= now:
                heapq.heappop(ready)
                return True
            # A user who becomes ready meanwhile hurries the timer.
            self._timer.until(min(ready[0], over) if ready else over)
        return False

    def _request(self, row: int, message: Message) -> None:
        ended = self._exchange(row, message, None)
        ready = ended + self._thinking[row]
        heapq.heappush(self._ready, ready)
        if self._ready[0] == ready:
            self._timer.hurry()
