"""``load`` and ``faults``: what comes in, and what goes wrong, read and written.

Closed load, replay and ramps are read and checked in full, and reported to
:attr:`Later.found`; the parser refuses them once everything else is right.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal

from services.errors import BadInput
from services.scenario.distributions import Constant, Distribution
from services.scenario.file.steps.choice import weight
from services.scenario.model import (
    PROTOCOLS,
    EdgeRef,
    Entry,
    Fault,
    FaultScope,
    Load,
    Protocol,
    Target,
)
from services.scenario.refactors.operator import edge_ref
from services.scenario.text import edges, units
from services.scenario.text.amounts import SIZE, TIME
from services.scenario.text.reader import (
    Reader,
    bad,
    integer,
    items,
    mapping,
    name,
    optional,
    positive,
    quantity,
    text,
    word,
)
from services.scenario.text.source import Leaf, Node, node_of

Lines = dict[tuple[str, ...], int]

DURATION_NS: Final = 8_000_000_000
WARMUP_NS: Final = 2_000_000_000
MAX_IN_FLIGHT: Final = 1000
ENTRY_TIMEOUT_NS: Final = 10_000_000_000
REQUEST: Final[Distribution] = Constant(200.0)
RESPONSE: Final[Distribution] = Constant(1024.0)

_PROTOCOL: Final[Callable[[str | None, Node], Protocol]] = word(PROTOCOLS)
_ARRIVALS: Final = word(("poisson", "uniform", "replay"))
_duration = quantity(units.duration)
_rate = positive(quantity(units.rate))


@dataclass(slots=True)
class Later:
    """What the file asks for and this version cannot do, in file order."""

    file: str | None
    found: list[BadInput] = field(default_factory=list)

    def add(self, node: Node, what: str) -> None:
        hint = "this version reads and checks it, but cannot run it"
        self.found.append(bad(self.file, node, f"{what}: not yet", hint))


def read_load(r: Reader, later: Later, lines: Lines) -> Load:
    lines["load",] = r.node.line
    model = r.get("model", word(("open", "closed")), "open")
    if model == "closed":
        later.add(r.node.items["model"], "closed load")
        integer(1)(r.file, r.need("users", "users: 20"))
        r.get("think", TIME.read, REQUEST)
        rate = r.get("rate", _rate, 1.0)
    else:
        rate = _rate(r.file, r.need("rate", "rate: 50/s"))
    arrivals = r.get("arrivals", _ARRIVALS, "poisson")
    if arrivals == "replay":
        later.add(r.node.items["arrivals"], "replay")
        text(r.file, r.need("replay", "replay: arrivals.csv"))
    if (ramp := r.take("ramp")) is not None:
        later.add(ramp, "ramps")
        _check_ramp(r.file, ramp)
    load = Load(
        model="open",
        arrivals="uniform" if arrivals == "uniform" else "poisson",
        rate_rps=rate,
        duration_ns=r.get("duration", positive(_duration), DURATION_NS),
        warmup_ns=r.get("warmup", _duration, WARMUP_NS),
        max_in_flight=r.get("max_in_flight", integer(1), MAX_IN_FLIGHT),
        entries=_entries(r, lines),
    )
    r.done()
    return load


def _check_ramp(file: str | None, node: Node) -> None:
    for stage in items(file, node, "ramp"):
        r = mapping(file, stage, "a stage of a ramp")
        _rate(file, r.need("to", "to: 100/s"))
        positive(_duration)(file, r.need("over", "over: 10s"))
        r.done()


def _entries(r: Reader, lines: Lines) -> tuple[Entry, ...]:
    single, several = r.take("entry"), r.take("entries")
    if (single is None) == (several is None):
        raise bad(r.file, r.node, "load takes entry, or entries", "entry: gateway.checkout")
    if single is not None:
        found = [single]
    else:
        assert several is not None
        found = items(r.file, several, "entries")
        if not found:
            raise bad(r.file, several, "entries is empty")
    return tuple(_entry(r.file, node, lines, i) for i, node in enumerate(found))


def _entry(file: str | None, node: Node, lines: Lines, number: int) -> Entry:
    lines["entry", str(number)] = node.line
    if isinstance(node, Leaf):
        return _entry_to(edges.target(file, node))
    r = mapping(file, node, "an entry")
    plain = _entry_to(edges.target(file, r.need("call", "call: gateway.checkout")))
    entry = Entry(
        target=plain.target,
        protocol=r.get("protocol", _PROTOCOL, plain.protocol),
        weight=r.get("weight", weight, plain.weight),
        request_bytes=r.get("request", SIZE.read, plain.request_bytes),
        response_bytes=r.get("response", SIZE.read, plain.response_bytes),
        key_distinct=r.get("key", optional(edges.key, "none"), plain.key_distinct),
        timeout_ns=r.get("timeout", positive(_duration), plain.timeout_ns),
    )
    r.done()
    return entry


def _entry_to(target: Target) -> Entry:
    return Entry(target, "http", 1.0, REQUEST, RESPONSE, None, ENTRY_TIMEOUT_NS)


def load_of(document: object) -> Load:
    """Back from :func:`write_load`. Raises BadInput."""
    return read_load(mapping(None, node_of(document), "load"), Later(None), {})


def write_load(load: Load) -> dict[str, object]:
    return {
        "arrivals": load.arrivals,
        "rate": units.rate_text(load.rate_rps),
        "duration": units.time_text(load.duration_ns),
        "warmup": units.time_text(load.warmup_ns),
        "max_in_flight": load.max_in_flight,
        "entries": [_write_entry(entry) for entry in load.entries],
    }


def _write_entry(entry: Entry) -> dict[str, object]:
    plain = _entry_to(entry.target)
    written: dict[str, object] = {"call": str(entry.target)}
    if entry.protocol != plain.protocol:
        written["protocol"] = entry.protocol
    if entry.weight != plain.weight:
        written["weight"] = entry.weight
    if entry.request_bytes != plain.request_bytes:
        written["request"] = SIZE.write(entry.request_bytes)
    if entry.response_bytes != plain.response_bytes:
        written["response"] = SIZE.write(entry.response_bytes)
    if entry.key_distinct is not None:
        written["key"] = {"distinct": entry.key_distinct}
    if entry.timeout_ns != plain.timeout_ns:
        written["timeout"] = units.time_text(entry.timeout_ns)
    return written


def read_faults(file: str | None, node: Node, lines: Lines) -> tuple[Fault, ...]:
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
    kinds = {key: r.take(key) for key in ("latency", "error", "reset", "pause")}
    given = [key for key, node in kinds.items() if node is not None]
    if len(given) != 1:
        said = " and ".join(given) or "none"
        raise bad(r.file, r.node, f"a fault is latency, error, reset or pause; this has {said}")
    latency: Distribution | None = None
    probability = 1.0
    pause_ns: int | None = None
    kind: Literal["latency", "error", "reset", "pause"] = "latency"
    if (node := kinds["latency"]) is not None:
        latency = TIME.read(r.file, node)
        probability = r.get("probability", quantity(units.probability), 1.0)
    elif (node := kinds["error"]) is not None:
        kind, probability = "error", quantity(units.probability)(r.file, node)
    elif (node := kinds["reset"]) is not None:
        kind, probability = "reset", quantity(units.probability)(r.file, node)
    elif (node := kinds["pause"]) is not None:
        kind, pause_ns = "pause", positive(_duration)(r.file, node)
    fault = Fault(
        id=r.get("id", name, default_id),
        kind=kind,
        scope=r.get("at", _scope, FaultScope(None, None, None, None, None)),
        latency=latency,
        pause_ns=pause_ns,
        probability=probability,
        from_ns=r.get("from", _duration, None),
        to_ns=r.get("to", _duration, None),
    )
    if fault.to_ns is not None and fault.to_ns <= (fault.from_ns or 0):
        raise bad(r.file, r.node.items["to"], "the fault ends before it begins")
    if kind == "pause" and fault.to_ns is not None:
        raise bad(r.file, r.node.items["to"], "a pause lasts as long as it says, once")
    if kind == "pause" and fault.scope.operation is not None:
        raise bad(r.file, r.node.items["at"], "a replica pauses as a whole: name service, replica")
    r.done()
    return fault


def _scope(file: str | None, node: Node) -> FaultScope:
    r = mapping(file, node, "at")
    edge: EdgeRef | None = r.get("edge", edge_ref, None)
    scope = FaultScope(
        service=r.get("service", name, None),
        operation=r.get("operation", name, None),
        replica=r.get("replica", integer(0), None),
        caller=None if edge is None else edge.caller,
        caller_operation=None if edge is None else edge.caller_operation,
    )
    r.done()
    if edge is None:
        return scope
    if scope.service is not None or scope.operation is not None:
        raise bad(file, node, "an edge names the service and operation already")
    return FaultScope(
        edge.callee, edge.operation, scope.replica, edge.caller, edge.caller_operation
    )


def write_faults(faults: tuple[Fault, ...]) -> list[object]:
    return [_write_fault(fault, f"fault/{number}") for number, fault in enumerate(faults, 1)]


def _write_fault(fault: Fault, default_id: str) -> dict[str, object]:
    written: dict[str, object] = {}
    if fault.kind in ("error", "reset"):
        written[fault.kind] = units.probability_text(fault.probability)
    elif fault.pause_ns is not None:
        written["pause"] = units.time_text(fault.pause_ns)
    else:
        assert fault.latency is not None
        written["latency"] = TIME.write(fault.latency)
        if fault.probability != 1.0:
            written["probability"] = units.probability_text(fault.probability)
    if fault.id != default_id:
        written["id"] = fault.id
    if at := _write_scope(fault.scope):
        written["at"] = at
    if fault.from_ns is not None:
        written["from"] = units.time_text(fault.from_ns)
    if fault.to_ns is not None:
        written["to"] = units.time_text(fault.to_ns)
    return written


def _write_scope(scope: FaultScope) -> dict[str, object]:
    written: dict[str, object] = {}
    if scope.caller is not None:
        assert scope.service is not None
        assert scope.operation is not None
        edge = EdgeRef(scope.caller, scope.caller_operation, scope.service, scope.operation)
        written["edge"] = str(edge)
    else:
        if scope.service is not None:
            written["service"] = scope.service
        if scope.operation is not None:
            written["operation"] = scope.operation
    if scope.replica is not None:
        written["replica"] = scope.replica
    return written
