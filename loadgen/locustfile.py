"""What Locust runs: one user, which follows the schedule.

``locust -f loadgen/locustfile.py`` works by itself against a running scenario (``hopbench up``);
the bench starts it with a plan and a control socket. Rate and duration are the plan's: Locust's
own users and spawn rate have no meaning here, hence the shape, which hides them in its web page.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from locust import LoadTestShape, User, events, task
from locust.exception import StopUser

from loadgen.session import BROKEN, Session
from services.errors import BadInput, CannotStart

_sessions: list[Session] = []
"""The one of this process; Locust makes users and shapes by itself, without arguments."""


class Schedule(LoadTestShape):
    """One user; the session ends the test when the schedule has ended."""

    use_common_options = False

    def tick(self) -> tuple[int, float]:
        return 1, 1


class Dispatcher(User):
    """Not one of many: the greenlet that sends all requests."""

    fixed_count = 1
    host = "as planned"

    @task
    def follow_the_schedule(self) -> None:
        _sessions[0].play()
        # Locust repeats a user's tasks for as long as the user lives.
        raise StopUser


def begin(environment: Any, **_: Any) -> None:
    try:
        _sessions.append(Session(environment, os.environ))
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
