"""``faults``: what goes wrong, read and written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from services.scenario.model import EdgeRef, Fault, FaultKind, FaultScope
from services.scenario.text.amounts import DURATION, PROBABILITY, TIME
from services.scenario.text.edges import EDGE
from services.scenario.text.forms import (
    NAME,
    Form,
    Key,
    integer,
    list_schema,
    mapping_schema,
    positive,
    raw,
    read,
    written,
)
from services.scenario.text.reader import Lines, Reader, bad, items, mapping
from services.scenario.text.source import Node

_SCOPE: Final = (
    Key("service", NAME, None),
    Key("operation", NAME, None),
    Key("replica", integer(0), None),
)
_EDGE: Final = Key("edge", EDGE, None)


def _read_scope(file: str, node: Node) -> FaultScope:
    r = mapping(file, node, "at")
    edge: EdgeRef | None = _EDGE.read(r)
    said = read(_SCOPE, r)
    r.done()
    if edge is None:
        return FaultScope(**said, caller=None, caller_operation=None)
    if said["service"] is not None or said["operation"] is not None:
        raise bad(file, node, "an edge names the service and operation already")
    return FaultScope(
        edge.callee, edge.operation, said["replica"], edge.caller, edge.caller_operation
    )


def _write_scope(scope: FaultScope) -> dict[str, object]:
    said = written(_SCOPE, scope)
    if scope.caller is None:
        return said
    callee, operation = said.pop("service"), said.pop("operation")
    edge = EdgeRef(scope.caller, scope.caller_operation, str(callee), str(operation))
    return {"edge": EDGE.write(edge), **said}


_AT: Final = Form(_read_scope, mapping_schema((*_SCOPE, _EDGE)), _write_scope)
_COMMON: Final = (
    Key("id", NAME, None),
    Key("at", _AT, FaultScope(None, None, None, None, None), "scope"),
    Key("from", DURATION, None, "from_ns"),
    Key("to", DURATION, None, "to_ns"),
)
_KINDS: Final[Mapping[FaultKind, tuple[Key, ...]]] = {
    "latency": (Key("latency", TIME), Key("probability", PROBABILITY, 1.0)),
    "error": (Key("error", PROBABILITY, field="probability"),),
    "reset": (Key("reset", PROBABILITY, field="probability"),),
    "pause": (Key("pause", positive(DURATION), field="pause_ns"),),
}
_FAULT: Final = {"oneOf": [mapping_schema((*keys, *_COMMON)) for keys in _KINDS.values()]}
FAULTS: Final = raw(list_schema(raw(_FAULT).named("fault").schema))


def read_faults(file: str, node: Node | None, lines: Lines) -> tuple[Fault, ...]:
    found: list[Fault] = []
    for number, item in enumerate(items(file, node, "faults"), 1):
        fault = _fault(mapping(file, item, "a fault"), f"fault/{number}")
        if ("fault", fault.id) in lines:
            first = lines["fault", fault.id]
            raise bad(file, item, f"the id {fault.id!r} is given twice, first on line {first}")
        lines["fault", fault.id] = item.line
        found.append(fault)
    return tuple(found)


def _fault(r: Reader, default_id: str) -> Fault:
    given = [kind for kind in _KINDS if r.take(kind) is not None]
    if len(given) != 1:
        kinds = " and ".join(given) or "none"
        raise bad(r.file, r.node, f"a fault is latency, error, reset or pause; this has {kinds}")
    unsaid = {"latency": None, "pause_ns": None, "probability": 1.0}
    said: dict[str, Any] = unsaid | read(_KINDS[given[0]], r) | read(_COMMON, r)
    said["id"] = said["id"] or default_id
    fault = Fault(kind=given[0], **said)
    if fault.to_ns is not None and fault.to_ns <= (fault.from_ns or 0):
        raise bad(r.file, r.node.items["to"], "the fault ends before it begins")
    if fault.kind == "pause" and fault.to_ns is not None:
        raise bad(r.file, r.node.items["to"], "a pause lasts as long as it says, once")
    if fault.kind == "pause" and fault.scope.operation is not None:
        raise bad(r.file, r.node.items["at"], "a replica pauses as a whole: name service, replica")
    r.done()
    return fault


def write_faults(faults: tuple[Fault, ...]) -> list[object]:
    return [_write_fault(fault, f"fault/{number}") for number, fault in enumerate(faults, 1)]


def _write_fault(fault: Fault, default_id: str) -> dict[str, object]:
    said = written((*_KINDS[fault.kind], *_COMMON), fault)
    if fault.id == default_id:
        del said["id"]
    return said
