"""A merged call at work: the callee's steps, in the caller's process.

Each run has the items that the call would have carried, under the keys that the callee would have
found in the ticket. No retry of the request being handled came through to the callee: every try of
it drew as the first.
"""

from __future__ import annotations

from services.behaviour.calls import Calls
from services.behaviour.items import Carried
from services.behaviour.replica import Frame, Replica, StepFailed
from services.behaviour.steps import makes_calls, prepare
from services.scenario.chance import item_key
from services.scenario.steps.merged import Merged
from services.telemetry.port import Fanout


class Merging(Calls):
    __slots__ = ("_steps",)

    def __init__(self, replica: Replica, step: Merged) -> None:
        super().__init__(replica, step.edge)
        self._steps = prepare(replica, step.steps)
        self._is_fanout = any(map(makes_calls, step.steps))

    async def _call(
        self, frame: Frame, keys: list[int], call: Carried, fanout: Fanout | None
    ) -> bool:
        own = [item_key(keys[0], item.step, item.number) for item in call.items]
        try:
            await self._steps.run(frame.as_first(), own, 0, fanout)
        except StepFailed:
            if not await self._make_do(frame, keys, call, fanout):
                raise
            return False
        return True
