"""A call whose caller keeps the answers, by key.

- A key that is kept makes no call and no span; a batch carries what is missing only.
- A key in flight is awaited, whoever asked for it. What was asked for goes out before anything is
  awaited, or two batches could wait for each other.
- Errors are not kept: who waited for one asks again.
- What is kept grows without bound, for one request or for as long as the replica lives.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from services.behaviour.edges import EdgeRunner
from services.behaviour.items import Carried, carried
from services.behaviour.replica import Answer, Answers, Frame, Replica
from services.scenario.steps.calls import Call
from services.telemetry.port import Fanout
from services.wire.ticket import Item


def caller(replica: Replica, step: Call) -> EdgeRunner:
    return EdgeRunner(replica, step) if step.edge.cache is None else CachedEdge(replica, step)


@dataclass(slots=True)
class _Asked:
    """Items of one call, by where their answers are to come from."""

    missing: list[Item]
    flights: dict[str, Answer]
    """Of the missing, by key."""
    awaited: list[tuple[Item, Answer]]
    """In flight for somebody else."""


class CachedEdge(EdgeRunner):
    __slots__ = ("_lives_ns", "_of_request", "_shared", "_target")

    def __init__(self, replica: Replica, step: Call) -> None:
        super().__init__(replica, step)
        assert step.edge.cache is not None
        self._target = step.edge.target
        self._lives_ns = step.edge.cache.ttl_ns
        self._of_request = step.edge.cache.scope == "request"
        self._shared: Answers = replica.answers.setdefault(self._target, {})

    async def _call(
        self, frame: Frame, keys: list[int], call: Carried, fanout: Fanout | None
    ) -> bool:
        answers = frame.answers_of(self._target) if self._of_request else self._shared
        rest, answered = list(call.items), True
        while rest:
            asked = self._asked(answers, keys[0], rest)
            if asked.missing:
                answered &= await self._fill(frame, keys, asked, answers, fanout)
            rest = []
            for item, flight in asked.awaited:
                await flight.landed.wait()
                if not flight.good:
                    rest.append(item)
        return answered

    def _asked(self, answers: Answers, parent: int, items: list[Item]) -> _Asked:
        asked = _Asked([], {}, [])
        for item in items:
            key = self._key_of(parent, item)
            found = answers.get(key)
            if found is None or (found.until_ns is not None and self._now() >= found.until_ns):
                asked.flights[key] = answers[key] = Answer(asyncio.Event())
                asked.missing.append(item)
            elif not found.good and key not in asked.flights:
                asked.awaited.append((item, found))
        return asked

    async def _fill(
        self,
        frame: Frame,
        keys: list[int],
        asked: _Asked,
        answers: Answers,
        fanout: Fanout | None,
    ) -> bool:
        answered = False
        (call,) = carried(asked.missing, len(asked.missing))
        try:
            answered = await super()._call(frame, keys, call, fanout)
        finally:
            until_ns = None if self._lives_ns is None else self._now() + self._lives_ns
            for key, flight in asked.flights.items():
                flight.good, flight.until_ns = answered, until_ns
                if not answered:
                    del answers[key]
                flight.landed.set()
        return answered
