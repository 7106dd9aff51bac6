"""Locust's master and workers as processes of their own, with Locust used as a library.

The bench's own: control over a descriptor, one round, then the end. Standing (in containers):
control over TCP, round after round, for one bench at a time.
"""

from __future__ import annotations

import hmac
import signal
import sys
from argparse import Namespace
from pathlib import Path
from socket import IPPROTO_TCP, TCP_USER_TIMEOUT
from typing import Any, BinaryIO, Final

import gevent
from gevent import socket
from gevent.event import Event
from gevent.lock import BoundedSemaphore
from gevent.os import make_nonblocking, nb_read
from locust.env import Environment
from locust.event import Events
from locust.log import setup_logging
from locust.runners import MasterRunner, WorkerRunner
from locust.stats import PERCENTILES_TO_REPORT, StatsCSV, print_stats, stats_history

from loadgen.cluster.control import Control
from loadgen.cluster.master import Members, Round
from loadgen.cluster.worker import Worker
from loadgen.messages import Broken, Listening, Offer, Said
from loadgen.plan import Plan
from loadgen.users import Dispatcher, given
from services import codec
from services.errors import BadInput
from services.system.endpoints import Endpoint, endpoint
from services.system.title import set_title

_PLAN_BYTES: Final = 16 * 1024 * 1024
_PLAN_S: Final = 10.0
"""For the first line of a bench that has connected."""
_SETTLE_S: Final = 5.0
_BUSY_S: Final = 2 * _SETTLE_S
_GONE_MS: Final = 5000
_LINGER_MS: Final = 200
BROKEN: Final = 5


def asked_to_end() -> Event:
    """Set by SIGINT and SIGTERM."""
    asked = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        gevent.signal_handler(number, asked.set)
    return asked


def _log_to_stderr() -> None:
    setup: Any = setup_logging
    setup("INFO")


def _environment(options: Namespace | None = None) -> Environment:
    events: Any = Events
    return Environment(user_classes=[Dispatcher], events=events(), parsed_options=options)


def run_worker(master: Endpoint | None, number: int | None, *, below: bool, asked: Event) -> int:
    """A worker, until SIGTERM; ``below`` another process, until the pipe on standard input ends.
    Without ``master`` a line ``HOST:PORT`` on that pipe tells where it is."""
    _log_to_stderr()
    if below:
        make_nonblocking(0)
        if master is None:
            telling = gevent.spawn(_told)
            # The end may be asked for first: by a master that died before it was listening.
            gevent.wait([asked, telling], count=1)
            master = telling.value
            telling.kill(block=False)
        gevent.spawn(_until_eof, asked)
    if master is None:
        return 0
    set_title("locust: worker" if number is None else f"locust: worker {number}")
    # Options of our own, or Locust would read locust.conf and the environment for them.
    options = Namespace(web_base_path="", stop_timeout=0.0)
    joining = gevent.spawn(_environment(options).create_worker_runner, *master)
    gevent.wait([asked, joining], count=1)
    if not joining.successful():
        joining.kill(block=False)
        return 0 if asked.is_set() else BROKEN
    runner: WorkerRunner = joining.value
    worker = Worker(runner.environment, number)
    given(worker)
    # Locust's own end of a worker: a master that says quit.
    gevent.spawn(runner.greenlet.join).link(lambda _: asked.set())
    asked.wait()
    worker.close()
    # Its greenlets would go on reading from what is closed now.
    runner.greenlet.kill()
    client: Any = runner.client
    client.close(linger=_LINGER_MS)
    return 0


def _told() -> Endpoint | None:
    line = b""
    while not line.endswith(b"\n"):
        if not (block := nb_read(0, 256)):
            return None
        line += block
    return endpoint(line.decode())


def _until_eof(asked: Event) -> None:
    while nb_read(0, 256):
        pass
    asked.set()


class _Master:
    """A master that runs, with Locust's page where asked for."""

    def __init__(self, bind: Endpoint, web: Endpoint | None) -> None:
        self.environment = _environment()
        runner = self.environment.create_master_runner(*bind)
        assert isinstance(runner, MasterRunner)
        self.runner = runner
        self.members = Members(runner)
        gevent.spawn(stats_history, runner)
        if web is not None:
            self.environment.create_web_ui(
                *web, stats_csv_writer=StatsCSV(self.environment, PERCENTILES_TO_REPORT)
            )

    @property
    def port(self) -> int:
        server: Any = self.runner.server
        port: int = server.port
        return port

    def close(self) -> None:
        page: Any = self.environment.web_ui
        if page is not None:
            page.stop()
        self.runner.greenlet.kill()
        server: Any = self.runner.server
        server.close(linger=_LINGER_MS)


def run_one(fd: int, plan: Path, *, expected: int, web: Endpoint | None, asked: Event) -> int:
    """The bench's own master: one round of ``plan`` for ``expected`` workers of this host, under
    control of the descriptor ``fd``."""
    _log_to_stderr()
    set_title("locust: master")
    master = _Master(Endpoint("127.0.0.1", 0), web)
    stop = Event()
    control = Control.inherited(fd, stop.set)
    control.send(Listening(f"127.0.0.1:{master.port}"))
    round_ = Round(
        master.runner,
        master.members,
        Plan.read(plan),
        control.send,
        expected=expected,
        streamed=False,
    )
    complete = _play(round_, control, stop, asked)
    print_stats(master.runner.stats, current=False)
    master.close()
    return 0 if complete or stop.is_set() else BROKEN


def _play(round_: Round, control: Control, stop: Event, asked: Event) -> bool:
    """Play under control: the start and the stop come from the bench, or from a signal."""

    def started() -> None:
        if (start := control.start()) is not None:
            round_.start(start)

    def stopped() -> None:
        gevent.wait([stop, asked], count=1)
        round_.stop()

    watchers = [gevent.spawn(started), gevent.spawn(stopped)]
    try:
        return round_.play()
    finally:
        gevent.killall(watchers, block=False)


class _Standing:
    """A master for many rounds: one bench at a time, one connection a round."""

    def __init__(self, master: _Master, token: str, expected: int | None, asked: Event) -> None:
        self._master = master
        self._token = token
        self._expected = expected
        self._asked = asked
        self._turn = BoundedSemaphore(1)

    def serve(self, listener: Any) -> None:
        while True:
            connection, peer = listener.accept()
            # A bench that vanishes with its host closes nothing.
            connection.setsockopt(IPPROTO_TCP, TCP_USER_TIMEOUT, _GONE_MS)
            gevent.spawn(self._bench, connection, peer[0])

    def _bench(self, connection: Any, peer: str) -> None:
        with connection:
            try:
                lines = connection.makefile("rb")
                plan, expected = self._first(lines)
            except (BadInput, OSError) as error:
                _tell(connection, Broken(str(error)))
                _log(f"{peer}: {error}")
                return
            # The last round may be in its last moments.
            if not self._turn.acquire(timeout=_BUSY_S):
                _tell(connection, Broken("another bench has a round here"))
                return
            try:
                self._round(connection, lines, plan, expected, peer)
            finally:
                self._turn.release()

    def _first(self, lines: BinaryIO) -> tuple[Plan, int | None]:
        """The plan of a bench that may give one. Raises BadInput, OSError."""
        line = b""
        with gevent.Timeout(_PLAN_S, False):
            line = lines.readline(_PLAN_BYTES)
        try:
            offer = codec.decode(Offer, line)
        except codec.Unfit as error:
            raise BadInput(f"the first line must hold a token and a plan: {error}") from None
        if not hmac.compare_digest(offer.token.encode(), self._token.encode()):
            raise BadInput("wrong token")
        if offer.workers is not None and offer.workers < 1:
            raise BadInput(f"workers: {offer.workers} is no whole number above 0")
        return Plan.of(offer.plan), self._expected if offer.workers is None else offer.workers

    def _round(
        self, connection: Any, lines: BinaryIO, plan: Plan, expected: int | None, peer: str
    ) -> None:
        stop = Event()
        control = Control(connection, stop.set, lines)
        _log(f"{peer}: a round begins")
        round_ = Round(
            self._master.runner,
            self._master.members,
            plan,
            control.send,
            expected=expected,
            streamed=True,
        )
        try:
            complete = _play(round_, control, stop, self._asked)
        finally:
            control.close()
        _log(f"{peer}: the round has ended{'' if complete else ' early'}")
        # Its statistics stay on Locust's page until the next round begins.
        with gevent.Timeout(_SETTLE_S, False):
            self._master.runner.stop()
            while not round_.settled():
                gevent.sleep(0.05)


def run_standing(
    control: Endpoint,
    *,
    bind: Endpoint,
    web: Endpoint | None,
    expected: int | None,
    token: str,
    asked: Event,
) -> int:
    """A master for many rounds, until SIGTERM."""
    _log_to_stderr()
    set_title("locust: master")
    try:
        listener = socket.create_server(control, reuse_port=False)
    except OSError as error:
        _log(f"cannot listen on {control[0]}:{control[1]}: {error.strerror}")
        return BROKEN
    with listener:
        master = _Master(bind, web)
        standing = _Standing(master, token, expected, asked)
        serving = gevent.spawn(standing.serve, listener)
        _log(
            f"rounds are taken on {control[0]}:{listener.getsockname()[1]}, "
            f"workers on {bind[0]}:{master.port}"
        )
        asked.wait()
        serving.kill()
        master.close()
    return 0


def _tell(connection: Any, said: Said) -> None:
    try:
        connection.sendall(codec.encode(said) + b"\n")
    except OSError:
        return


def _log(text: str) -> None:
    print(f"hopbench: {text}", file=sys.stderr, flush=True)
