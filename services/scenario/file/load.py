"""``load``: what comes in, read and written.

Closed load, replay and ramps are read and checked in full, and reported to
:attr:`Later.found`; the parser refuses them once everything else is right.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Final

from services.errors import BadInput
from services.scenario.distributions import Constant
from services.scenario.model import Entry, Load
from services.scenario.text.amounts import DURATION, RATE, SIZE, TIME, WEIGHT
from services.scenario.text.edges import KEY, TARGET
from services.scenario.text.forms import (
    TEXT,
    Form,
    Key,
    defaults,
    integer,
    list_schema,
    mapping_schema,
    positive,
    raw,
    read,
    record,
    word,
    written,
)
from services.scenario.text.reader import Lines, Reader, bad, items, mapping
from services.scenario.text.source import Leaf, Node, tree

_SENT: Final = ("http", "grpc", "kafka")
"""What the generator can send (loadgen/sending, loadgen/kafka)."""
_TO: Final = Key("call", TARGET, field="target", example="call: gateway.checkout")
_OFFERED: Final = (
    Key("protocol", word(_SENT), "http"),
    Key("weight", WEIGHT, 1.0),
    Key("request", SIZE, Constant(200.0), "request_bytes"),
    Key("response", SIZE, Constant(1024.0), "response_bytes"),
    Key("key", KEY, None, "key_distinct"),
    Key("timeout", positive(DURATION), 10_000_000_000, "timeout_ns"),
)
_ENTRY: Final = record("an entry", Entry, _TO, *_OFFERED)


def _entry(file: str, node: Node) -> Entry:
    if isinstance(node, Leaf):
        return Entry(target=TARGET.read(file, node), **defaults(_OFFERED))
    return _ENTRY.read(file, node)


ENTRY: Final = Form(_entry, {"anyOf": [TARGET.schema, _ENTRY.schema]}, _ENTRY.write).named("entry")

_STAGE: Final[Form[dict[str, float]]] = record(
    "a stage of a ramp",
    dict,
    Key("to", RATE, example="to: 100/s"),
    Key("over", positive(DURATION), example="over: 10s"),
)
_MODEL: Final = Key("model", word(("open", "closed")), "open")
_USERS: Final = Key("users", integer(1), None, example="users: 20")
_THINK: Final = Key("think", TIME, None)
_RATE: Final = Key("rate", positive(RATE), None, "rate_rps", example="rate: 50/s")
_ARRIVALS: Final = Key("arrivals", word(("poisson", "uniform", "replay")), "poisson", always=True)
_REPLAY: Final = Key("replay", TEXT, None, example="replay: arrivals.csv")
_RAMP: Final = Key("ramp", raw(list_schema(_STAGE.schema)), None)
_PACE: Final = (
    Key("duration", positive(DURATION), 10_000_000_000, "duration_ns", always=True),
    Key("warmup", DURATION, 5_000_000_000, "warmup_ns", always=True),
    Key("max_in_flight", integer(1), 1000, always=True),
)
_ENTRY_ALONE: Final = Key("entry", raw(ENTRY.schema), None)
_ENTRIES: Final = Key("entries", raw(list_schema(ENTRY.schema, minItems=1)), None)
_KEYS: Final = (_MODEL, _USERS, _THINK, _RATE, _ARRIVALS, _REPLAY, _RAMP, *_PACE)
LOAD: Final = raw(mapping_schema((*_KEYS, _ENTRY_ALONE, _ENTRIES))).named("load")


@dataclass(slots=True)
class Later:
    """What the file asks for and this version cannot do, in file order."""

    file: str
    found: list[BadInput] = field(default_factory=list)

    def add(self, node: Node, what: str) -> None:
        hint = "this version reads and checks it, but cannot run it"
        self.found.append(bad(self.file, node, f"{what}: not yet", hint))


def read_load(r: Reader, later: Later, lines: Lines) -> Load:
    lines["load",] = r.node.line
    if _MODEL.read(r) == "closed":
        later.add(r.node.items["model"], "closed load")
        _USERS.demand(r)
        _THINK.read(r)
        rate = _RATE.read(r) or 1.0
    else:
        rate = _RATE.demand(r)
    arrivals = _ARRIVALS.read(r)
    if arrivals == "replay":
        later.add(r.node.items["arrivals"], "replay")
        _REPLAY.demand(r)
    if (ramp := _RAMP.read(r)) is not None:
        later.add(ramp, "ramps")
        for stage in items(r.file, ramp, "ramp"):
            _STAGE.read(r.file, stage)
    pace = read(_PACE, r)
    load = Load(
        model="open",
        arrivals="uniform" if arrivals == "uniform" else "poisson",
        rate_rps=rate,
        entries=_entries(r, lines),
        **pace,
    )
    r.done()
    return load


def _entries(r: Reader, lines: Lines) -> tuple[Entry, ...]:
    single, several = _ENTRY_ALONE.read(r), _ENTRIES.read(r)
    if (single is None) == (several is None):
        raise bad(r.file, r.node, "load takes entry, or entries", "entry: gateway.checkout")
    found = [single] if several is None else items(r.file, several, "entries")
    if not found:
        raise bad(r.file, several, "entries is empty")
    for number, node in enumerate(found):
        lines["entry", str(number)] = node.line
    return tuple(ENTRY.read(r.file, node) for node in found)


def load_of(document: object) -> Load:
    """Back from :func:`write_load`. Raises BadInput."""
    node = tree(json.dumps(document), "load")
    return read_load(mapping("load", node, "load"), Later("load"), {})


def write_load(load: Load) -> dict[str, object]:
    return {
        **written((_ARRIVALS, _RATE, *_PACE), load),
        "entries": [ENTRY.write(entry) for entry in load.entries],
    }
