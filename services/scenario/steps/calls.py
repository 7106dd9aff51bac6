"""``call`` and ``publish``: a target, and the options of the edge beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, Self

from services.scenario.model import Edge, OnError, OnErrorFail, OnErrorFallback, Step, Steps
from services.scenario.steps.kind import STEPS, Common, Kind, Place, WritePlace
from services.scenario.text.edges import (
    ON_ERROR,
    OPTIONS,
    PROTOCOL,
    TARGET,
    edge,
    written_options,
)
from services.scenario.text.forms import Form, Key, given, mapping_schema, raw, read
from services.scenario.text.reader import Reader, bad, mapping
from services.scenario.text.source import Map, Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Talk(Step):
    """A step that sends something over an edge. Its fallback, where it has one, runs by chance."""

    edge: Edge

    @property
    def blocks(self) -> tuple[Steps, ...]:
        on_error = self.edge.on_error
        return (on_error.steps,) if isinstance(on_error, OnErrorFallback) else ()

    def with_blocks(self, blocks: tuple[Steps, ...]) -> Self:
        return replace(self, edge=replace(self.edge, on_error=OnErrorFallback(blocks[0])))

    @property
    def shares(self) -> tuple[float, ...]:
        return (0.0,) * len(self.blocks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Talk):
    """A call (mode ``call``; over Kafka a request/reply)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Publish(Talk):
    """A message that is not answered (mode ``publish``, protocol ``kafka``); continues at ack."""


_FALLBACK: Final = (Key("fallback", STEPS, example="on_error: {fallback: [work: 1ms]}"),)
_OPTIONS: Final = {key.name: key for key in OPTIONS}


def _over_kafka(file: str, node: Node) -> str:
    protocol = PROTOCOL.read(file, node)
    if protocol != "kafka":
        raise bad(file, node, "publish goes over kafka only", "use call instead")
    return protocol


def _unhedged(file: str, node: Node) -> None:
    if _OPTIONS["hedge"].form.read(file, node) is not None:
        raise bad(file, node, "a message that is not answered has no hedge")


_CALL: Final = {
    **_OPTIONS,
    "on_error": Key(
        "on_error", raw({"anyOf": [ON_ERROR.schema, mapping_schema(_FALLBACK)]}), OnErrorFail()
    ),
}
_PUBLISH: Final = {
    **_CALL,
    "protocol": Key("protocol", Form(_over_kafka, {"const": "kafka"}), "kafka"),
    "hedge": Key("hedge", Form(_unhedged, {"const": "none"}), None),
}


def _on_error(file: str, node: Node, place: Place) -> OnError:
    if not isinstance(node, Map):
        return ON_ERROR.read(file, node)
    inner = mapping(file, node, "on_error")
    steps = read(_FALLBACK, inner)["fallback"]
    inner.done()
    return OnErrorFallback(place.read(steps))


def _options(keys: Mapping[str, Key], r: Reader, place: Place) -> dict[str, Any]:
    said = given(keys.values(), r)
    if "on_error" in said:
        said["on_error"] = _on_error(r.file, said["on_error"], place)
    return {**place.options, **said}


def _read_call(node: Node, r: Reader, common: Common, place: Place) -> Call:
    to = TARGET.read(r.file, node)
    return Call(**common, edge=edge(to, "call", common["id"], _options(_CALL, r, place)))


def _read_publish(node: Node, r: Reader, common: Common, place: Place) -> Publish:
    to = TARGET.read(r.file, node)
    # Defaults may speak of calls.
    options = {**_options(_PUBLISH, r, place), "protocol": "kafka", "hedge": None}
    return Publish(**common, edge=edge(to, "publish", common["id"], options))


def written_edge(key: str, edge: Edge, place: WritePlace) -> dict[str, object]:
    said = {key: str(edge.target), **written_options(edge)}
    if isinstance(edge.on_error, OnErrorFallback):
        said["on_error"] = {"fallback": place.write(edge.on_error.steps)}
    return said


def _written(key: str, talk: Talk, place: WritePlace) -> dict[str, object]:
    return written_edge(key, talk.edge, place)


CALL: Final = Kind(
    Call,
    partial(_written, "call"),
    "services.behaviour.caching:caller",
    _read_call,
    TARGET.schema,
    tuple(_CALL.values()),
)
PUBLISH: Final = Kind(
    Publish,
    partial(_written, "publish"),
    "services.behaviour.edges:EdgeRunner",
    _read_publish,
    TARGET.schema,
    tuple(_PUBLISH.values()),
)
