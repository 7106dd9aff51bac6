"""``call`` and ``publish``: a target, and the options of the edge beside it."""

from __future__ import annotations

from typing import Final

from services.scenario.file.steps.kind import Common, Kind, Place, WritePlace
from services.scenario.model import Call, Edge, Mode, OnErrorFallback, Publish
from services.scenario.text import edges
from services.scenario.text.reader import Reader, bad
from services.scenario.text.source import Node


def _read_edge(node: Node, r: Reader, common: Common, place: Place, mode: Mode) -> Edge:
    to = edges.target(r.file, node)
    given = edges.given(r, fallback=lambda steps: OnErrorFallback(place.read(steps)))
    if mode == "publish":
        if given.get("protocol", "kafka") != "kafka":
            raise bad(
                r.file, r.node.items["protocol"], "publish goes over kafka only", "use call instead"
            )
        if given.get("hedge") is not None:
            raise bad(r.file, r.node.items["hedge"], "a message that is not answered has no hedge")
    return edges.edge(to, mode, common["id"], {**place.values, **given})


def _read_call(node: Node, r: Reader, common: Common, place: Place) -> Call:
    return Call(**common, edge=_read_edge(node, r, common, place, "call"))


def _read_publish(node: Node, r: Reader, common: Common, place: Place) -> Publish:
    return Publish(**common, edge=_read_edge(node, r, common, place, "publish"))


def _write(step: Call | Publish, place: WritePlace) -> dict[str, object]:
    key = "call" if isinstance(step, Call) else "publish"
    written: dict[str, object] = {key: str(step.edge.target), **edges.written(step.edge)}
    if isinstance(step.edge.on_error, OnErrorFallback):
        written["on_error"] = {"fallback": place.write(step.edge.on_error.steps)}
    return written


CALL: Final = Kind(Call, _read_call, _write)
PUBLISH: Final = Kind(Publish, _read_publish, _write)
