"""What Locust runs: one user, which follows the schedule.

``locust -f loadgen/locustfile.py`` works by itself against a running scenario (``hopbench up``);
the bench starts it with a plan and a control socket. Rate and duration are the plan's: Locust's
own users and spawn rate have no meaning here, hence the shape, which hides them in its web page.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from locust import LoadTestShape, events

from loadgen.session import BROKEN, Session
from loadgen.users import Dispatcher, given
from services.errors import BadInput, CannotStart

__all__ = ("Dispatcher", "Schedule")

_sessions: list[Session] = []
"""The one of this process."""


class Schedule(LoadTestShape):
    """One user; the session ends the test when the schedule has ended."""

    use_common_options = False

    def tick(self) -> tuple[int, float]:
        return 1, 1


def begin(environment: Any, **_: Any) -> None:
    try:
        _sessions.append(Session(environment, os.environ))
        given(_sessions[0])
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
