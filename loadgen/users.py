"""The one kind of user that Locust knows here: the greenlet that sends a schedule."""

from __future__ import annotations

from typing import Final, Protocol

from locust import User, task
from locust.exception import StopUser

from loadgen.samples import STATUSES

FAILURES: Final = [None if status == "ok" else RuntimeError(status) for status in STATUSES]
"""What Locust counts as the failure of a request, by status."""


class Player(Protocol):
    def play(self) -> None:
        """Send a whole round, if one is due."""
        ...


_players: list[Player] = []
"""The one of this process; Locust makes users by itself, without arguments."""


def given(player: Player) -> None:
    """What users of this process do from now on."""
    _players[:] = [player]


class Dispatcher(User):
    """Not one of many: the greenlet that sends all requests of this process."""

    host = "as planned"

    @task
    def follow_the_schedule(self) -> None:
        for player in _players:
            player.play()
        # Locust repeats a user's tasks for as long as the user lives.
        raise StopUser
