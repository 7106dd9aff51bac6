"""A master started by hand, ``locust -f loadgen/locustfile.py --master``.

Each press of Start, or the headless start, is dealt to the workers that have joined, on this host.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from time import monotonic_ns
from typing import Any, Final

import gevent
from locust.env import Environment
from locust.runners import MasterRunner

from loadgen.cluster.master import Members, Round
from loadgen.messages import Broken, Ready, Said, Start
from loadgen.plan import Plan, located
from loadgen.session import BROKEN, again, end_test

_HEAD_START_NS: Final = 100_000_000
"""From all being ready to the schedule's zero."""


class Dealer:
    def __init__(self, environment: Environment, variables: Mapping[str, str]) -> None:
        """Raises BadInput without a usable plan."""
        runner = environment.runner
        assert isinstance(runner, MasterRunner)
        self._environment = environment
        self._runner = runner
        self._plan = Plan.read(located(variables))
        self._members = Members(runner)
        self._rounds = 0
        self._round: Round | None = None
        events: Any = environment.events
        # Locust fires it before it asks for users, so workers hear of the plan first.
        events.test_start.add_listener(self._begin)
        events.test_stopping.add_listener(self._stop)

    def quit(self) -> None:
        self._stop()

    def _begin(self, **_: Any) -> None:
        plan = again(self._plan, self._rounds) if self._rounds else self._plan
        self._rounds += 1
        round_ = Round(
            self._runner,
            self._members,
            plan,
            self._tell,
            expected=len(self._members.ready()),
            streamed=False,
            spawning=False,
        )
        self._round = round_
        gevent.spawn(self._play, round_)
        gevent.sleep(0)  # the plan is on its way

    def _play(self, round_: Round) -> None:
        try:
            round_.play()
        finally:
            self._round = None
            end_test(self._environment)

    def _tell(self, said: Said) -> None:
        if isinstance(said, Ready) and self._round is not None:
            self._round.start(Start(monotonic_ns() + _HEAD_START_NS))
        elif isinstance(said, Broken):
            print(f"hopbench: {said.why}", file=sys.stderr, flush=True)
            self._environment.process_exit_code = BROKEN

    def _stop(self, **_: Any) -> None:
        if self._round is not None:
            self._round.stop()
