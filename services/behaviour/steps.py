"""The interpreter: each step of an operation, prepared once for one replica and then run.

Preparing folds constants and drops what a step does not need, so that running costs little:

- A choice draws under the step's own item key: the first item's key, the step's id, the iteration.
- Draws about time and failure (``cpu``, ``time``, ``fail``) also differ between attempts of the
  call being handled, or a retry could not help. What a request *is* (choices, items, sizes, keys)
  stays the same however often it is tried.
- Steps of a parallel block start in order. A block is a fan-out, with a span of its own, when two
  or more of its steps make calls.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Sequence
from functools import cache
from itertools import accumulate
from pkgutil import resolve_name

from services.behaviour.amounts import Cost
from services.behaviour.groups import together
from services.behaviour.replica import Frame, Replica, Runner, StepFailed
from services.scenario.chance import item_key, uniform
from services.scenario.model import Step, Steps
from services.scenario.steps import groups, kind_of
from services.scenario.steps.calls import Talk
from services.scenario.steps.choice import Choice
from services.scenario.steps.fail import Fail
from services.scenario.steps.time import Sleep, Work
from services.scenario.tree import walk
from services.telemetry.port import Fanout

_named = cache(resolve_name)


def prepare(replica: Replica, steps: Steps) -> Runner:
    """All steps, in order."""
    runners = [_prepare(replica, step) for step in steps]
    return runners[0] if len(runners) == 1 else InOrder(runners)


def _prepare(replica: Replica, step: Step) -> Runner:
    _, kind = kind_of(step)
    runner: Runner = _named(kind.runner)(replica, step)
    return PerItem(runner) if step.per_item else runner


def in_order(replica: Replica, step: groups.Sequence | groups.Parallel) -> Runner:
    return prepare(replica, step.steps)


def at_once(replica: Replica, step: groups.Parallel) -> Runner:
    if len(step.steps) == 1 or step.max_parallel == 1:
        return in_order(replica, step)
    return AtOnce(replica, step)


class InOrder:
    __slots__ = ("_steps",)

    def __init__(self, steps: Sequence[Runner]) -> None:
        self._steps = tuple(steps)

    async def run(self, frame: Frame, keys: list[int], shift: int, fanout: Fanout | None) -> None:
        for step in self._steps:
            await step.run(frame, keys, shift, fanout)


class PerItem:
    """Once for every item carried, each under its own key, one after another."""

    __slots__ = ("_step",)

    def __init__(self, step: Runner) -> None:
        self._step = step

    async def run(self, frame: Frame, keys: list[int], shift: int, fanout: Fanout | None) -> None:
        for key in keys:
            await self._step.run(frame, [key], shift, fanout)


class Working:
    __slots__ = ("_cost", "_cpu", "_where")

    def __init__(self, replica: Replica, step: Work) -> None:
        self._cost = Cost(step.id, "cpu", step.cpu, step.cpu_per_item)
        self._cpu = replica.clock.cpu
        self._where = step.where

    async def run(self, frame: Frame, keys: list[int], shift: int, fanout: Fanout | None) -> None:
        ns = self._cost.ns(keys, shift, frame.attempt)
        if ns > 0:
            await self._cpu(ns, self._where)


class Sleeping:
    __slots__ = ("_cost", "_sleep")

    def __init__(self, replica: Replica, step: Sleep) -> None:
        self._cost = Cost(step.id, "time", step.time, step.time_per_item)
        self._sleep = replica.clock.sleep

    async def run(self, frame: Frame, keys: list[int], shift: int, fanout: Fanout | None) -> None:
        ns = self._cost.ns(keys, shift, frame.attempt)
        if ns > 0:
            await self._sleep(ns)


class Choosing:
    __slots__ = ("_bounds", "_id", "_options")

    def __init__(self, replica: Replica, step: Choice) -> None:
        self._id = step.id
        self._bounds = list(accumulate(option.weight for option in step.options))
        self._options = [prepare(replica, option.steps) for option in step.options]

    async def run(self, frame: Frame, keys: list[int], shift: int, fanout: Fanout | None) -> None:
        bounds = self._bounds
        at = uniform(item_key(keys[0], self._id, shift), "choice") * bounds[-1]
        option = self._options[min(bisect_right(bounds, at), len(bounds) - 1)]
        await option.run(frame, keys, shift, fanout)


class Repeating:
    """Adds no pair to the call path, only shifts the numbers of the items inside."""

    __slots__ = ("_body", "_times")

    def __init__(self, replica: Replica, step: groups.Repeat) -> None:
        self._body = prepare(replica, step.steps)
        self._times = step.times

    async def run(self, frame: Frame, keys: list[int], shift: int, fanout: Fanout | None) -> None:
        body = self._body
        first = shift * self._times
        for iteration in range(first, first + self._times):
            await body.run(frame, keys, iteration, fanout)


class Failing:
    __slots__ = ("_id", "_probability")

    def __init__(self, replica: Replica, step: Fail) -> None:
        self._id = step.id
        self._probability = step.probability

    async def run(self, frame: Frame, keys: list[int], shift: int, fanout: Fanout | None) -> None:
        if self._probability >= 1.0 or (
            uniform(item_key(keys[0], self._id, shift), "fail", frame.attempt) < self._probability
        ):
            raise StepFailed(f"step {self._id} fails")


class AtOnce:
    """A parallel block of two or more steps.

    ``after`` waits for the sibling that has, or holds, the named step; a step that waits takes no
    place of ``max_parallel``.
    """

    __slots__ = ("_counters", "_is_fanout", "_places", "_steps", "_telemetry", "_waits", "_watched")

    def __init__(self, replica: Replica, step: groups.Parallel) -> None:
        self._steps = [_prepare(replica, child) for child in step.steps]
        self._waits = sibling_waits(step.steps)
        self._watched = frozenset(i for waits in self._waits for i in waits)
        bounded = step.max_parallel is not None and step.max_parallel < len(step.steps)
        self._places = step.max_parallel if bounded else None
        self._is_fanout = sum(makes_calls(child) for child in step.steps) > 1
        self._telemetry = replica.telemetry
        self._counters = replica.counters

    async def run(self, frame: Frame, keys: list[int], shift: int, fanout: Fanout | None) -> None:
        if not self._is_fanout:
            await self._all(frame, keys, shift, fanout)
            return
        scope = frame.scope
        inner = self._telemetry.fanout_begin(scope, scope.trace if fanout is None else fanout.trace)
        try:
            await self._all(frame, keys, shift, inner)
        finally:
            self._telemetry.fanout_end(scope, inner)

    async def _all(self, frame: Frame, keys: list[int], shift: int, fanout: Fanout | None) -> None:
        places = None if self._places is None else asyncio.Semaphore(self._places)
        ended = {i: asyncio.Event() for i in self._watched}

        async def member(i: int) -> None:
            for earlier in self._waits[i]:
                await ended[earlier].wait()
            if places is None:
                await self._steps[i].run(frame, keys, shift, fanout)
            else:
                async with places:
                    await self._steps[i].run(frame, keys, shift, fanout)
            if i in ended:
                ended[i].set()

        await together(self._counters, (member(i) for i in range(len(self._steps))))


def makes_calls(step: Step) -> bool:
    return any(isinstance(inner, Talk) for inner in walk((step,)))


def hangs_on_items(steps: Steps) -> bool:
    """Whether anything in ``steps`` draws, calls, or costs by the item: who runs them needs keys.

    What is false for this costs the same whatever it carries, and most leaves of a topology are.
    """
    return any(step.per_item or step.draws for step in walk(steps))


def sibling_waits(steps: Steps) -> tuple[tuple[int, ...], ...]:
    """For each step, the places of the siblings that its ``after`` names or reaches into.

    Names from outside of the block are done before it starts, and wait for nothing.
    """
    place = {inner.id: i for i, step in enumerate(steps) for inner in walk((step,))}
    return tuple(
        tuple(sorted({place[name] for name in step.after if name in place} - {i}))
        for i, step in enumerate(steps)
    )
