"""A call whose callee's steps run at the caller. Operators make it; a file cannot say it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Self

from services.scenario.model import Edge, OnErrorFallback, Step, Steps
from services.scenario.steps.calls import written_edge
from services.scenario.steps.kind import Made, WritePlace


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged(Step):
    """``steps`` run as often as calls of ``edge`` would be made, each time with the items that the
    call would carry and under their keys, so that they draw what they drew at the callee.

    Of the edge, what concerns a message (protocol, sizes, key) means nothing any more.
    """

    edge: Edge
    steps: Steps

    @property
    def blocks(self) -> tuple[Steps, ...]:
        on_error = self.edge.on_error
        fallback = (on_error.steps,) if isinstance(on_error, OnErrorFallback) else ()
        return (self.steps, *fallback)

    def with_blocks(self, blocks: tuple[Steps, ...]) -> Self:
        steps, *fallback = blocks
        if not fallback:
            return replace(self, steps=steps)
        edge = replace(self.edge, on_error=OnErrorFallback(fallback[0]))
        return replace(self, steps=steps, edge=edge)


def _write(step: Merged, place: WritePlace) -> dict[str, object]:
    return {**written_edge("merged", step.edge, place), "steps": place.write(step.steps)}


MERGED: Final = Made(Merged, _write, "services.behaviour.merging:Merging")
