"""Locust's master: deals each round to the workers, and tells the bench what they tell.

The load itself is none of its work. One Locust user for each worker stands for that worker's share,
so that Locust's own page shows the whole load as a run of its own, which its Stop button ends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import monotonic, monotonic_ns
from typing import Any, Final

import gevent
from gevent.queue import Empty, Queue
from locust.dispatch import UsersDispatcher
from locust.runners import MasterRunner, WorkerNode

from loadgen.cluster.dealing import (
    BROKEN,
    FINISHED,
    FROM_WORKERS,
    HELLO,
    OPENED,
    PLAN,
    PROGRESS,
    READY,
    SAMPLES,
    SILENT_S,
    START,
    STOP,
    TELL_S,
    dealt,
)
from loadgen.counts import Counts, together
from loadgen.messages import Broken, Finished, Progress, Ready, Said, Samples, Start
from loadgen.plan import Plan
from services import codec

GATHER_S: Final = 20.0
"""For the workers that a round needs to have joined."""
_SETTLE_S: Final = 0.5
"""Without a number asked for, so long nobody new may have joined."""
OPEN_S: Final = 20.0
"""For making a schedule and opening connections, in which a worker says nothing."""
_WIND_UP_S: Final = 5.0
_LOOK_S: Final = 0.1

Tell = Callable[[Said], None]


@dataclass(frozen=True, slots=True)
class Member:
    """A worker that has said who it is."""

    client: str
    """Locust's name for it."""
    number: int | None
    host: str
    index: int
    """In the order of joining."""


class Dealt(UsersDispatcher):
    """Users stay with the workers that were there when the round began. Locust would deal them out
    anew when another joins, and so take one away from a worker that is sending its share."""

    def add_worker(self, worker_node: WorkerNode) -> None:
        """It takes part from the next round on, for which Locust makes a new dispatcher."""


class Members:
    """Who has joined. Other Locust workers, which have not said hello, are left alone."""

    def __init__(self, runner: MasterRunner) -> None:
        self._runner = runner
        self._said: dict[str, Mapping[str, Any]] = {}
        self.round: Round | None = None
        runner.environment.dispatcher_class = Dealt
        runner.register_message(HELLO, self._hello)
        for kind in FROM_WORKERS:
            runner.register_message(kind, self._heard)

    def ready(self) -> list[Member]:
        """Those that wait for a round, in the order of their numbers, or of joining."""
        index: Any = self._runner.get_worker_index
        found = [
            Member(
                client=client.id,
                number=self._said[client.id]["number"],
                host=self._said[client.id]["host"],
                index=index(client.id),
            )
            for client in self._runner.clients.ready
            if client.id in self._said
        ]
        return sorted(found, key=lambda m: (m.index if m.number is None else m.number, m.index))

    def _hello(self, *, msg: Any, **_: Any) -> None:
        self._said[msg.node_id] = msg.data

    def _heard(self, *, msg: Any, **_: Any) -> None:
        if self.round is not None:
            self.round.heard(msg.node_id, msg.type, msg.data)


class _Over(Exception):
    """The round ends early; the text says why, and is empty where the bench has asked for it."""


@dataclass(slots=True)
class _Part:
    """One worker's share of the round."""

    name: str
    number: int
    seen: set[str] = field(default_factory=set)
    sent: int = 0
    ended: int = 0
    heard_at: float = 0.0
    gone: bool = False
    counts: Counts | None = None


class Round:
    """One round. ``expected`` workers, or all that have joined."""

    def __init__(
        self,
        runner: MasterRunner,
        members: Members,
        plan: Plan,
        tell: Tell,
        *,
        expected: int | None,
        streamed: bool,
        spawning: bool = True,
    ) -> None:
        """``streamed``: workers send their samples, since nobody else sees their files.
        ``spawning``: nobody else tells Locust to start its users."""
        self._runner = runner
        self._members = members
        self._plan = plan
        self._say = tell
        self._expected = expected
        self._streamed = streamed
        self._spawning = spawning
        self._number = monotonic_ns()
        self._inbox: Queue[tuple[str | None, str, Any]] = Queue()
        self._parts: dict[str, _Part] = {}
        self._started = False
        self._winding_up = False
        self._stop_asked = False
        self._told_at = 0.0

    def start(self, start: Start) -> None:
        """The bench names the schedule's zero."""
        self._inbox.put((None, START, start))

    def stop(self) -> None:
        """The bench wants it to end, or is gone."""
        self._inbox.put((None, STOP, None))

    def heard(self, client: str, kind: str, data: Mapping[str, Any]) -> None:
        """A worker's message, as it comes in."""
        part = self._parts.get(client)
        if part is not None and data["round"] == self._number:
            part.heard_at = monotonic()
            self._inbox.put((client, kind, data))

    def play(self) -> bool:
        """The whole round; whether all of it was sent. Tells the bench everything meanwhile."""
        why: str | None = None
        self._members.round = self
        try:
            self._deal()
            self._pump(lambda: self._all(OPENED), OPEN_S, "was not ready")
            # One that was too busy to send heartbeats is given no user until it has sent one again.
            if self._spawning:
                self._pump(self._waiting, OPEN_S, "sent no heartbeat")
                self._runner.start(len(self._parts), len(self._parts))
            self._pump(lambda: self._all(READY), OPEN_S, "did not begin")
            self._say(Ready(len(self._parts)))
            self._pump(lambda: self._started)
            self._pump(lambda: self._all(FINISHED))
        except _Over as over:
            why = str(over) or None
            if why is not None:
                self._say(Broken(why))
            self._wind_up()
        finally:
            self._members.round = None
        counts = [part.counts for part in self._parts.values() if part.counts is not None]
        if not self._started:
            return False
        finished = together(counts, missing=len(counts) < len(self._parts), broken=why)
        self._say(Finished(finished))
        return finished.complete

    def settled(self) -> bool:
        """Whether every worker that took part, and is still there, waits for another round."""
        return self._waiting()

    def _waiting(self) -> bool:
        waiting = {member.client for member in self._members.ready()}
        return all(part.gone or client in waiting for client, part in self._parts.items())

    def _deal(self) -> None:
        members = self._gathered()
        for number, (member, plan) in enumerate(
            zip(members, dealt(self._plan, len(members)), strict=True)
        ):
            name = f"worker {number}" + (f" on {member.host}" if self._streamed else "")
            self._parts[member.client] = _Part(name, number, heard_at=monotonic())
            self._send(member.client, PLAN, plan=plan.document(), streamed=self._streamed)

    def _gathered(self) -> list[Member]:
        until = monotonic() + GATHER_S
        since, last = monotonic(), 0
        while True:
            members = self._members.ready()
            if self._expected is not None and len(members) >= self._expected:
                return members[: self._expected]
            if len(members) != last:
                since, last = monotonic(), len(members)
            if self._expected is None and members and monotonic() - since >= _SETTLE_S:
                return members
            if monotonic() > until:
                wanted = (
                    "no worker" if not self._expected else f"{last} of {self._expected} workers"
                )
                raise _Over(f"{wanted} joined in {GATHER_S:g} s")
            self._pump(lambda: True)
            gevent.sleep(_LOOK_S / 2)

    def _wind_up(self) -> None:
        """Have the workers that are left end the round, and hear what they have still to say."""
        self._winding_up = True
        for client, part in self._parts.items():
            if not part.gone:
                self._send(client, STOP)
        if self._started:
            until = monotonic() + _WIND_UP_S
            while not self._all(FINISHED) and monotonic() < until:
                self._take(_LOOK_S)
                self._watch()

    def _pump(self, done: Callable[[], bool], bound_s: float | None = None, late: str = "") -> None:
        """Act on what comes until ``done``. Raises _Over where the round cannot go on, with
        ``late`` for the workers that have not come so far after ``bound_s``."""
        until = None if bound_s is None else monotonic() + bound_s
        while True:
            self._take(0.0)
            if self._stop_asked:
                raise _Over
            if done() and self._inbox.empty():
                return
            self._take(_LOOK_S)
            self._watch()
            self._progress()
            if until is not None and monotonic() > until:
                slow = min(self._parts.values(), key=lambda part: len(part.seen))
                raise _Over(f"{slow.name} {late} in {bound_s:g} s")

    def _take(self, wait_s: float) -> None:
        try:
            client, kind, data = (
                self._inbox.get(timeout=wait_s) if wait_s else self._inbox.get(False)
            )
        except Empty:
            return
        if client is None:
            if kind == STOP:
                self._stop_asked = True
            elif not self._started:
                self._started = True
                for each in self._parts:
                    self._send(each, START, at_ns=data.at_ns, unix=data.unix)
            return
        part = self._parts[client]
        part.seen.add(kind)
        if kind == PROGRESS:
            part.sent, part.ended = data["sent"], data["ended"]
        elif kind == SAMPLES:
            self._say(Samples(data["spool"], data["data"]))
        elif kind == FINISHED:
            part.counts = counts = codec.typed(Counts, data["counts"])
            part.sent = part.ended = counts.sent
        elif kind == BROKEN and not self._winding_up:
            raise _Over(f"{part.name}: {data['why']}")

    def _watch(self) -> None:
        """Raises _Over for a worker that has fallen silent."""
        for part in self._parts.values():
            # Before it has opened its connections it is busy, and cannot say so.
            bound_s = SILENT_S if OPENED in part.seen else OPEN_S
            if FINISHED in part.seen or part.gone or monotonic() - part.heard_at < bound_s:
                continue
            part.gone = True
            if not self._winding_up:
                raise _Over(f"{part.name} has said nothing for {bound_s:g} s")

    def _progress(self) -> None:
        if self._started and monotonic() - self._told_at >= TELL_S:
            self._told_at = monotonic()
            parts = self._parts.values()
            self._say(Progress(sum(p.sent for p in parts), sum(p.ended for p in parts)))

    def _all(self, kind: str) -> bool:
        return all(kind in part.seen or part.gone for part in self._parts.values())

    def _send(self, client: str, kind: str, **data: Any) -> None:
        self._runner.send_message(kind, {"round": self._number, **data}, client)
