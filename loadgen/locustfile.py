"""What Locust runs: one user, which follows the schedule.

``locust -f loadgen/locustfile.py`` works by itself against a running scenario (``hopbench up``),
and so does one with ``--master`` beside several with ``--worker``, which share the arrivals;
the bench starts it with a plan and a control socket. Rate and duration are the plan's: Locust's
own users and spawn rate have no meaning here, hence the shape, which hides them in its web page.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any, Protocol

import gevent
from locust import LoadTestShape, events
from locust.runners import MasterRunner, WorkerRunner

from loadgen.cluster.worker import Worker
from loadgen.dealer import Dealer
from loadgen.session import BROKEN, Session
from loadgen.users import Dispatcher, given
from services.errors import BadInput, CannotStart

__all__ = ("Dispatcher", "Schedule")


class Quits(Protocol):
    def quit(self) -> None: ...


_sessions: list[Quits] = []
"""The one of this process."""


class Schedule(LoadTestShape):
    """One user, or one on each worker; the session ends the test when the schedule has ended."""

    use_common_options = False

    def tick(self) -> tuple[int, float]:
        runner: Any = self.runner
        users = max(1, runner.worker_count)
        return users, users


_watchers: list[Any] = []
"""Of signals; one that is not kept is not called."""


def _interrupt() -> None:
    """Runs in the hub: Ctrl-C is raised where Locust waits for it.

    Python would raise it in whichever greenlet happens to run, in a request's or gRPC's own as
    well, and there it ends that greenlet and is lost.
    """
    gevent.get_hub().handle_system_error(KeyboardInterrupt, KeyboardInterrupt())


def begin(environment: Any, **_: Any) -> None:
    watcher = gevent.get_hub().loop.signal(signal.SIGINT)
    watcher.start(_interrupt)
    _watchers.append(watcher)
    try:
        if isinstance(environment.runner, MasterRunner):
            _sessions.append(Dealer(environment, os.environ))
        elif isinstance(environment.runner, WorkerRunner):
            given(Worker(environment, None))
        else:
            session = Session(environment, os.environ)
            _sessions.append(session)
            given(session)
    except BadInput as error:
        print(f"hopbench: {error}", file=sys.stderr)
        sys.exit(2)
    except CannotStart:
        sys.exit(BROKEN)


def end(**_: Any) -> None:
    for session in _sessions:
        session.quit()


_events: Any = events  # Locust types neither its events nor their listeners
_events.init.add_listener(begin)
_events.quitting.add_listener(end)
