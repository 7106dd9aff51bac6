"""``load``: what comes in, read and written."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

from services.errors import BadInput
from services.scenario.distributions import Constant
from services.scenario.file.recording import read_recording
from services.scenario.limits import MAX_USERS
from services.scenario.model import Entry, Load
from services.scenario.pace import Closed, Open, Pace, Replay, Stage
from services.scenario.text import units
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
    several,
    word,
    written,
)
from services.scenario.text.reader import Lines, Reader, bad, items, mapping
from services.scenario.text.source import Leaf, List, Map, Node, tree

_SENT: Final = ("http", "grpc", "kafka")
"""What the generator can send (loadgen/sending, loadgen/kafka)."""
_OFFERED: Final = (
    Key("weight", WEIGHT, 1.0),
    Key("request", SIZE, Constant(200.0), "request_bytes"),
    Key("key", KEY, None, "key_distinct"),
    Key("timeout", positive(DURATION), 10_000_000_000, "timeout_ns"),
)
_CALLED: Final = (
    Key("protocol", word(_SENT), "http"),
    *_OFFERED,
    Key("response", SIZE, Constant(1024.0), "response_bytes"),
)
_CALL: Final = record(
    "an entry",
    Entry,
    Key("call", TARGET, field="target", example="call: gateway.checkout"),
    *_CALLED,
)


def _published(**values: Any) -> Entry:
    return Entry(mode="publish", response_bytes=Constant(0.0), **values)


_PUBLISH: Final = record(
    "an entry that publishes",
    _published,
    Key("publish", TARGET, field="target", example="publish: orders.placed"),
    Key("protocol", word(("kafka",)), "kafka"),
    *_OFFERED,
)


def _entry(file: str, node: Node) -> Entry:
    if isinstance(node, Leaf):
        return Entry(target=TARGET.read(file, node), **defaults(_CALLED))
    published = isinstance(node, Map) and "publish" in node.items
    return (_PUBLISH if published else _CALL).read(file, node)


def _write_entry(entry: Entry) -> object:
    return (_PUBLISH if entry.mode == "publish" else _CALL).write(entry)


ENTRY: Final = Form(
    _entry, {"anyOf": [TARGET.schema, _CALL.schema, _PUBLISH.schema]}, _write_entry
).named("entry")

_STAGE: Final = record(
    "a stage of a ramp",
    Stage,
    Key("to", RATE, field="to_rps", example="to: 100/s"),
    Key("over", positive(DURATION), field="over_ns", example="over: 10s"),
)
_TIMES: Final = several(DURATION, 1)


def _recorded(file: str, node: Node) -> tuple[int, ...]:
    if isinstance(node, List):
        found = _TIMES.read(file, node)
        if list(found) != sorted(found):
            raise bad(file, node, "the times of a replay must not fall", "sort them")
        return found
    path = Path(file).parent / TEXT.read(file, node)
    try:
        return read_recording(path)
    except BadInput as error:
        if error.line is None:
            raise bad(file, node, f"{path}: {error.text}", error.hint) from None
        raise


_REPLAYED: Final = Form(_recorded, {"anyOf": [TEXT.schema, _TIMES.schema]}, _TIMES.write)

_MODEL: Final = Key("model", word(("open", "closed")), "open")
_USERS: Final = Key("users", integer(1, MAX_USERS), example="users: 20", about="Of a closed load.")
_THINK: Final = Key(
    "think", TIME, Constant(0.0), about="Of a closed load: from an answer to the next request."
)
_RATE: Final = Key("rate", positive(RATE), field="rate_rps", example="rate: 50/s")
_ARRIVALS: Final = Key("arrivals", word(("poisson", "uniform", "replay")), "poisson", always=True)
_RAMP: Final = Key(
    "ramp",
    several(_STAGE, 1),
    (),
    about="Where the rate goes from the start of the measured phase on, stage by stage.",
)
_REPLAY: Final = Key(
    "replay",
    _REPLAYED,
    field="at_ns",
    example="replay: arrivals.csv",
    about="Times from the first arrival, or a file with one a line.",
)
_OPEN: Final = (_ARRIVALS, _RATE, _RAMP)
_CLOSED: Final = (_USERS, _THINK)
_PHASES: Final = (
    Key("duration", positive(DURATION), 10_000_000_000, "duration_ns", always=True),
    Key("warmup", DURATION, 5_000_000_000, "warmup_ns", always=True),
    Key("max_in_flight", integer(1), 1000, always=True),
)
_ENTRY_ALONE: Final = Key("entry", raw(ENTRY.schema), None)
_ENTRIES: Final = Key("entries", raw(list_schema(ENTRY.schema, minItems=1)), None)
_BY_MODEL: Final = (*_OPEN, _REPLAY, *_CLOSED)
_KEYS: Final = (_MODEL, *_BY_MODEL, *_PHASES)
LOAD: Final = raw(mapping_schema((*_KEYS, _ENTRY_ALONE, _ENTRIES)) | {"required": []}).named("load")


def read_load(r: Reader, lines: Lines) -> Load:
    lines["load",] = r.node.line
    pace = _pace(r, lines)
    phases = read(_PHASES, r)
    load = Load(pace=pace, entries=_entries(r, lines), **phases)
    r.done()
    return load


def _pace(r: Reader, lines: Lines) -> Pace:
    closed = _MODEL.read(r) == "closed"
    if closed:
        _none_of(r, (*_OPEN, _REPLAY), "a closed load sends when its users are ready")
        return Closed(**read(_CLOSED, r))
    _none_of(r, _CLOSED, "users belong to a closed load", hint="add model: closed")
    if _ARRIVALS.read(r) == "replay":
        _none_of(r, (_RATE, _RAMP), "a replay sends when its recording says")
        if isinstance(found := r.need(_REPLAY.name, _REPLAY.example), Leaf):
            lines["replay", found.text] = found.line
        return Replay(**read((_REPLAY,), r))
    _none_of(r, (_REPLAY,), "a recording is for a replay", hint="add arrivals: replay")
    return Open(**read(_OPEN, r))


def _none_of(r: Reader, keys: tuple[Key, ...], why: str, hint: str | None = None) -> None:
    for key in keys:
        if (node := r.take(key.name)) is not None:
            raise bad(r.file, node, f"{key.name}: {why}", hint or f"leave {key.name} out")


def self_contained(text: str, file: str, lines: Lines, load: Load) -> str:
    """The text of a scenario ``file`` with the times of its recording in place of its name."""
    named = next((key[1] for key in lines if key[0] == "replay"), None)
    if named is None or not isinstance(load.pace, Replay):
        return text
    line = lines["replay", named] - 1
    rows = text.splitlines(keepends=True)
    times = ", ".join(map(units.time_text, load.pace.at_ns))
    pattern = rf"""(replay['"]?\s*:\s*)(['"]?){re.escape(named)}\2"""
    rows[line], found = re.subn(pattern, lambda m: f"{m[1]}[{times}]", rows[line], count=1)
    if not found:
        hint = "write it plainly, on one line: `replay: arrivals.csv`"
        raise BadInput("the recording's name is not beside its key", file, line + 1, hint)
    return "".join(rows)


def _entries(r: Reader, lines: Lines) -> tuple[Entry, ...]:
    single, several_ = _ENTRY_ALONE.read(r), _ENTRIES.read(r)
    if (single is None) == (several_ is None):
        raise bad(r.file, r.node, "load takes entry, or entries", "entry: gateway.checkout")
    found = [single] if several_ is None else items(r.file, several_, "entries")
    if not found:
        raise bad(r.file, several_, "entries is empty")
    for number, node in enumerate(found):
        lines["entry", str(number)] = node.line
    return tuple(ENTRY.read(r.file, node) for node in found)


def load_of(document: object) -> Load:
    """Back from :func:`write_load`. Raises BadInput."""
    node = tree(json.dumps(document), "load")
    return read_load(mapping("load", node, "load"), {})


def write_load(load: Load) -> dict[str, object]:
    return {
        **_write_pace(load.pace),
        **written(_PHASES, load),
        "entries": [ENTRY.write(entry) for entry in load.entries],
    }


def _write_pace(pace: Pace) -> dict[str, object]:
    match pace:
        case Open():
            return written(_OPEN, pace)
        case Replay():
            return {"arrivals": "replay", **written((_REPLAY,), pace)}
        case Closed():
            return {"model": "closed", **written(_CLOSED, pace)}
