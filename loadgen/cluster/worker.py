"""A Locust worker: takes its share of each round that the master deals, and lives on after it.

It joins the master again when that was started anew. A round whose master, or bench, is gone is
ended: nobody sends load unwatched.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import gevent
from gevent.event import AsyncResult, Event
from locust import __version__ as locust_version
from locust.env import Environment
from locust.exception import RPCError
from locust.runners import STATE_INIT, WorkerRunner

from loadgen.cluster.dealing import (
    BROKEN,
    FINISHED,
    HELLO,
    OPENED,
    PLAN,
    PROGRESS,
    READY,
    SAMPLES,
    START,
    STOP,
    TELL_S,
)
from loadgen.generator import Generator
from loadgen.messages import Start
from loadgen.plan import Plan
from loadgen.samples import NOT_REACHED
from loadgen.spool.follower import Follower
from loadgen.users import FAILURES
from services import codec
from services.errors import BadInput, CannotStart

_STOP_S: Final = 5.0
"""Stopping takes milliseconds; a disk that hangs must not keep the process."""
_LOST_S: Final = 4.0
"""Locust's master answers a heartbeat every second."""
_CHUNKS: Final = 4
"""Of samples, each time progress is told: 1 MB/s, more than a worker makes."""
_MS: Final = 1e6

Send = Callable[[str, Mapping[str, Any]], None]


class Worker:
    def __init__(self, environment: Environment, number: int | None) -> None:
        """``number`` is its place among the workers, where the bench has given it one."""
        runner = environment.runner
        assert isinstance(runner, WorkerRunner)
        self._environment: Any = environment
        self._runner = runner
        self._number = number
        self._turn: Turn | None = None
        for kind, act in ((PLAN, self._dealt), (START, self._started), (STOP, self._stopped)):
            runner.register_message(kind, act)
        self._hello()
        gevent.spawn(self._stay)

    def play(self) -> None:
        if self._turn is not None:
            self._turn.play()

    def close(self) -> None:
        """End the round under way, with its samples written, and take leave of the master."""
        if self._turn is not None:
            self._turn.stop("was told to end")
        with suppress(RPCError):
            self._environment.events.quitting.fire(environment=self._environment)

    def _hello(self) -> None:
        self._send(
            HELLO, {"number": self._number, "host": socket.gethostname(), "pid": os.getpid()}
        )

    def _send(self, kind: str, data: Mapping[str, Any]) -> None:
        try:
            self._runner.send_message(kind, dict(data))
        except RPCError as error:
            print(f"hopbench: the master is out of reach: {error}", file=sys.stderr, flush=True)

    def _stay(self) -> None:
        """Join again where the master has forgotten us: it was started anew."""
        runner, lost = self._runner, False
        while True:
            gevent.sleep(1.0)
            heard = runner.last_heartbeat_timestamp
            if heard is not None and heard > time.time() - _LOST_S:
                lost = False
                continue
            if heard is not None:
                print("hopbench: the master is silent", file=sys.stderr, flush=True)
                # Locust's own watch would end this process in a minute.
                runner.last_heartbeat_timestamp = None
                lost = True
                if self._turn is not None:
                    self._turn.stop("the master is silent")
                # As a stop from the master would leave it, or a new one would think it at work.
                runner.stop()
                runner.worker_state = STATE_INIT
            if lost:
                with suppress(RPCError):
                    runner.send_message("client_ready", locust_version)  # type: ignore[arg-type]
                self._hello()

    # Listeners of Locust's run in the greenlet that reads its messages, and must not wait.

    def _dealt(self, *, msg: Any, **_: Any) -> None:
        before, turn = self._turn, Turn(self._environment, self._send, msg.data)
        self._turn = turn

        def begin() -> None:
            if before is not None:
                before.stop("the next round begins")
            turn.open()

        gevent.spawn(begin)

    def _started(self, *, msg: Any, **_: Any) -> None:
        if self._turn is not None and self._turn.number == msg.data["round"]:
            self._turn.start(Start(msg.data["at_ns"], msg.data["unix"]))

    def _stopped(self, *, msg: Any, **_: Any) -> None:
        if self._turn is not None and self._turn.number == msg.data["round"]:
            gevent.spawn(self._turn.stop)


class Turn:
    """This worker's part of one round."""

    def __init__(self, environment: Any, send: Send, message: Mapping[str, Any]) -> None:
        self.number: int = message["round"]
        self._environment = environment
        self._fire: Any = environment.events.request.fire
        self._send = send
        self._document = message["plan"]
        self._streamed: bool = message["streamed"]
        self._scratch: Path | None = None
        self._follower: Follower | None = None
        self._generator: Generator | None = None
        self._names: list[str] = []
        self._kinds: list[str] = []
        self._opened = Event()
        self._begin: AsyncResult = AsyncResult()
        self._running: gevent.Greenlet | None = None
        self._beat: gevent.Greenlet | None = None
        self._counted = (0, 0)

    def open(self) -> None:
        """Make the schedule and open every connection; tell when, or why not."""
        try:
            self._open()
        except (BadInput, CannotStart, OSError) as error:
            self._broken(str(error))
            self._clear()
            return
        finally:
            self._opened.set()
        self._beat = gevent.spawn(self._tell)
        self._say(OPENED)

    def start(self, start: Start) -> None:
        if not self._begin.ready():
            self._begin.set(start)

    def play(self) -> None:
        """What the Locust user of this worker does."""
        self._opened.wait()
        if self._generator is None or self._running is not None:
            return
        self._running = gevent.spawn(self._round, self._generator)
        try:
            self._running.join()
        except gevent.GreenletExit:  # the Stop of Locust's page, or of its master
            self.stop()
            raise

    def stop(self, why: str | None = None) -> None:
        """End early, and wait until the samples are written. ``why`` is told to the master where
        it has not asked for it."""
        if why is not None and self._running is not None and not self._running.dead:
            self._broken(why)
        if not self._begin.ready():
            self._begin.set(None)
        if self._generator is not None:
            self._generator.stop()
        if self._running is not None:
            self._running.join(timeout=_STOP_S)
        else:
            self._clear()

    def _open(self) -> None:
        plan = Plan.of(self._document)
        if self._streamed:
            self._scratch = Path(tempfile.mkdtemp(prefix="hopbench-"))
            plan = replace(plan, samples=self._scratch / plan.samples.name)
            self._follower = Follower(self._scratch)
        entries = plan.load.entries
        self._names = [str(entry.target) for entry in entries]
        self._kinds = [entry.protocol.upper() for entry in entries]
        generator = Generator(plan, self._observe)
        generator.open()
        self._generator = generator

    def _round(self, generator: Generator) -> None:
        self._say(READY)
        start: Start | None = self._begin.get()
        try:
            if start is None:
                return
            counts = generator.run(start.monotonic_ns(), self._count)
            if counts.broken is not None:
                self._broken(counts.broken)
            self._flush(None)
            self._report()
            self._say(FINISHED, counts=codec.plain(counts))
        except OSError as error:
            self._broken(f"cannot write samples: {error}")
        except Exception as error:  # told with its name; the greenlet's traceback is in the log
            self._broken(repr(error))
            raise
        finally:
            self._clear()

    def _clear(self) -> None:
        if self._beat is not None:
            self._beat.kill(block=False)
        if self._generator is not None:
            self._generator.close()
            self._generator = None
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)

    def _tell(self) -> None:
        while True:
            sent, ended = self._counted
            self._say(PROGRESS, sent=sent, ended=ended)
            self._flush(_CHUNKS)
            gevent.sleep(TELL_S)

    def _flush(self, chunks: int | None) -> None:
        if self._follower is not None:
            for name, data in self._follower.news(chunks):
                self._say(SAMPLES, spool=name, data=data)

    def _report(self) -> None:
        """Send Locust's statistics now; its own report comes every 3 s."""
        data: dict[str, Any] = {}
        runner = self._environment.runner
        self._environment.events.report_to_master.fire(client_id=runner.client_id, data=data)
        self._send("stats", data)

    def _broken(self, why: str) -> None:
        print(f"hopbench: {why}", file=sys.stderr, flush=True)
        self._say(BROKEN, why=why)

    def _say(self, kind: str, **data: Any) -> None:
        self._send(kind, {"round": self.number, **data})

    def _count(self, sent: int, ended: int) -> None:
        self._counted = (sent, ended)

    def _observe(self, row: int, status: int, response_ns: int, response_bytes: int) -> None:
        assert self._generator is not None
        entry = self._generator.entries[row]
        self._fire(
            request_type=self._kinds[entry],
            name=self._names[entry],
            response_time=None if response_ns == NOT_REACHED else response_ns / _MS,
            response_length=response_bytes,
            exception=FAILURES[status],
            context={},
        )
