"""The items of an edge, call by call: one after another, or several at once.

Items are filtered by their probability first, then batched. What a call is, derived classes say.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from services.behaviour.groups import together
from services.behaviour.items import Carried, carried, items_of
from services.behaviour.replica import Frame, Replica, Runner
from services.behaviour.steps import prepare
from services.scenario.chance import item_key, uniform
from services.scenario.model import Edge, OnErrorFallback, OnErrorIgnore
from services.telemetry.port import Fanout

_KEPT: Final = 8192
"""Calls of one edge, over all iterations around it: 2 MB."""


class Calls:
    """What a replica sends over one edge, whatever sending is."""

    __slots__ = (
        "_batch",
        "_by_shift",
        "_counters",
        "_fallback",
        "_ignore",
        "_is_fanout",
        "_kept",
        "_origins",
        "_parallel",
        "_probability",
        "_telemetry",
        "_workers",
    )

    def __init__(self, replica: Replica, edge: Edge) -> None:
        on_error = edge.on_error
        self._telemetry = replica.telemetry
        self._counters = replica.counters
        self._origins = edge.origins
        self._batch = edge.batch
        self._probability = edge.probability
        self._parallel = edge.max_parallel is None or edge.max_parallel > 1
        self._workers = edge.max_parallel
        self._is_fanout = True
        """Whether what runs at once has a span of its own."""
        self._ignore = isinstance(on_error, OnErrorIgnore)
        self._fallback: Runner | None = (
            prepare(replica, on_error.steps) if isinstance(on_error, OnErrorFallback) else None
        )
        self._by_shift: dict[int, list[Carried]] = {}
        self._kept = 0

    async def run(self, frame: Frame, keys: list[int], shift: int, fanout: Fanout | None) -> None:
        calls = self._calls_of(keys[0], shift)
        if len(calls) == 1:
            await self._call(frame, keys, calls[0], fanout)
        elif self._parallel and calls:
            await self._at_once(frame, keys, calls, fanout)
        else:
            for call in calls:
                await self._call(frame, keys, call, fanout)

    async def _call(
        self, frame: Frame, keys: list[int], call: Carried, fanout: Fanout | None
    ) -> bool:
        """Whether it was answered; raises what ends the operation."""
        raise NotImplementedError

    def _calls_of(self, parent: int, shift: int) -> list[Carried]:
        probability = self._probability
        if probability >= 1.0:
            calls = self._by_shift.get(shift)
            if calls is None:
                calls = carried(items_of(self._origins, shift), self._batch)
                if self._kept < _KEPT:
                    self._by_shift[shift] = calls
                    self._kept += len(calls)
            return calls
        return carried(
            [
                item
                for item in items_of(self._origins, shift)
                if uniform(item_key(parent, item.step, item.number), "probability") < probability
            ],
            self._batch,
        )

    async def _at_once(
        self, frame: Frame, keys: list[int], calls: list[Carried], outer: Fanout | None
    ) -> None:
        if not self._is_fanout:
            await self._all(frame, keys, calls, outer)
            return
        scope = frame.scope
        fanout = self._telemetry.fanout_begin(scope, scope.trace if outer is None else outer.trace)
        try:
            await self._all(frame, keys, calls, fanout)
        finally:
            self._telemetry.fanout_end(scope, fanout)

    async def _all(
        self, frame: Frame, keys: list[int], calls: list[Carried], fanout: Fanout | None
    ) -> None:
        if self._workers is None or self._workers >= len(calls):
            await together(
                self._counters, (self._call(frame, keys, call, fanout) for call in calls)
            )
        else:
            rest = iter(calls)
            await together(
                self._counters,
                (self._work_off(frame, keys, rest, fanout) for _ in range(self._workers)),
            )

    async def _work_off(
        self, frame: Frame, keys: list[int], rest: Iterator[Carried], fanout: Fanout | None
    ) -> None:
        for call in rest:
            await self._call(frame, keys, call, fanout)

    async def _make_do(
        self, frame: Frame, keys: list[int], call: Carried, fanout: Fanout | None
    ) -> bool:
        """After a failed call; false where the operation has to fail with it."""
        if self._fallback is not None:
            # The failed call's first item tells fallbacks of one edge apart, as an iteration does.
            await self._fallback.run(frame, keys, call.items[0].number, fanout)
            return True
        return self._ignore
