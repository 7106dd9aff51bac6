"""A scenario file → frozen values. Read, then validated, then frozen; never half-built.

Every error is one BadInput with file, line, the offending text and, where there is one, a hint.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from importlib import resources
from pathlib import Path
from typing import Any, Final

from services.errors import BadInput, Errors
from services.scenario.file.expectations import EXPECTATIONS, read_expectations
from services.scenario.file.faults import FAULTS, read_faults
from services.scenario.file.load import LOAD, read_load, self_contained
from services.scenario.file.validation import errors
from services.scenario.limits import MAX_NAME, MAX_PROCESSES
from services.scenario.model import Operation, Refactor, Scenario, Service, Variant
from services.scenario.names import is_name
from services.scenario.refactors import BASELINE, apply_refactor, read_refactor
from services.scenario.steps import read_steps
from services.scenario.steps.kind import STEPS, Place
from services.scenario.steps.time import WHERE
from services.scenario.text.edges import OPTIONS
from services.scenario.text.forms import (
    TEXT,
    Form,
    Key,
    defaults,
    given,
    integer,
    list_schema,
    mapping_schema,
    named_schema,
    raw,
    read,
)
from services.scenario.text.reader import (
    Lines,
    Reader,
    bad,
    bad_name,
    did_you_mean,
    items,
    mapping,
    shown,
)
from services.scenario.text.services import OF_SERVICE
from services.scenario.text.source import MAX_BYTES, Leaf, List, Map, Node, decode, tree

VERSION: Final = 1
BUNDLED: Final = "scenarios"
STDIN: Final = "-"


@dataclass(frozen=True, slots=True)
class Loaded:
    scenario: Scenario
    text: str
    """The file as it was read, with a recording of arrivals in it."""
    sha256: str
    """Of ``text`` in UTF-8, in hex."""
    file: str
    """As the user named it; ``-`` for standard input."""
    lines: Mapping[tuple[str, ...], int]
    """Where things stand in the file, by the keys of :class:`validate.Problem`."""


def load(source: str) -> Loaded:
    """A scenario by path, run directory, bundled name, or ``-`` for standard input."""
    file, raw = _raw(source)
    found = decode(raw, file)
    scenario, lines = _parse(found, file)
    found = self_contained(found, file, lines, scenario.load)
    return Loaded(scenario, found, sha256(found.encode()).hexdigest(), file, lines)


def parse_text(source: str, file: str = "scenario") -> Scenario:
    return _parse(source, file)[0]


def bundled() -> dict[str, str]:
    """Bundled scenarios, name → text, by name."""
    found = resources.files(BUNDLED)
    return {
        entry.name.removesuffix(".yaml"): entry.read_text("utf-8")
        for entry in sorted(found.iterdir(), key=lambda entry: entry.name)
        if entry.name.endswith(".yaml")
    }


def _raw(source: str) -> tuple[str, bytes]:
    if source == STDIN:
        return STDIN, sys.stdin.buffer.read(MAX_BYTES + 1)
    path = Path(source)
    try:
        if path.is_dir() and (path / "scenario.yaml").is_file():
            path /= "scenario.yaml"
        if path.exists() and not path.is_dir():
            with path.open("rb") as file:
                return str(path), file.read(MAX_BYTES + 1)
    except OSError as error:
        raise BadInput(f"cannot be read: {error.strerror}", str(path)) from None
    known = bundled()
    if source in known:
        return f"{source}.yaml", known[source].encode()
    if path.is_dir():
        raise BadInput(f"{source} is a directory without a scenario.yaml", hint="name a file")
    raise BadInput(
        f"there is no file and no bundled scenario {source!r}",
        hint=did_you_mean(source, known) or f"bundled: {', '.join(known)}",
    )


def _version(file: str, node: Node) -> int:
    if not isinstance(node, Leaf) or node.value != VERSION or isinstance(node.value, bool):
        raise bad(file, node, f"this reads version {VERSION}", f"write version: {VERSION}")
    return VERSION


def _title(file: str, node: Node) -> str:
    """A scenario's name: a run directory is named by it, and terminals show it."""
    found = TEXT.read(file, node)
    if not _is_title(found):
        raise bad(
            file,
            node,
            f"{shown(node)} cannot name a scenario",
            f"at most {MAX_NAME} characters of one line, no slash, and no dot at the start",
        )
    return found


def _is_title(found: str) -> bool:
    plain = found.isprintable() and not set(found) & {"/", "\\"}
    return plain and found.strip(" ") == found and 0 < len(found) <= MAX_NAME and found[0] != "."


def _stem(file: str) -> str:
    stem = Path(file).stem
    return stem if file != STDIN and _is_title(stem) else "scenario"


_TITLE: Final = Form(_title, {"type": "string", "minLength": 1, "maxLength": MAX_NAME})
_OF_STEPS: Final = (*OPTIONS, WHERE)
_OF_FILE: Final = (*_OF_STEPS, *OF_SERVICE)
"""What ``defaults`` may speak of: of steps everywhere, and those of the file of services, too."""
_DEFAULTS: Final = Key("defaults", raw(mapping_schema(_OF_STEPS)).named("defaults"), None)
_FILE_DEFAULTS: Final = Key("defaults", raw(mapping_schema(_OF_FILE)).named("file_defaults"), None)

_STEPS: Final = (_DEFAULTS, Key("steps", STEPS, example="steps: [work: 1ms]"))
_OPERATION: Final = raw({"anyOf": [STEPS.schema, mapping_schema(_STEPS)]}).named("operation")
_OPERATIONS: Final = (
    _DEFAULTS,
    Key(
        "operations",
        raw(named_schema(_OPERATION.schema)),
        example="operations: {create: [work: 1ms]}",
    ),
)
_SERVICE: Final = raw(mapping_schema((*_OPERATIONS, *OF_SERVICE))).named("service")

DESCRIPTION: Final = Key("description", TEXT, "")
_EXPECTATIONS: Final = Key("expectations", EXPECTATIONS, None)
_REFACTORS: Final = raw(list_schema({"$ref": "#/$defs/refactor"}))
_CHANGES: Final = (
    DESCRIPTION,
    Key("refactors", _REFACTORS, example="refactors: [{op: batch, …}]"),
    _EXPECTATIONS,
)
_VARIANT: Final = raw({"anyOf": [_REFACTORS.schema, mapping_schema(_CHANGES)]}).named("variant")
_VARIANTS: Final = named_schema(_VARIANT.schema, **{"not": {"const": BASELINE}})

FIGURES: Final = (
    Key("name", _TITLE, None, about="Default: the file's name."),
    DESCRIPTION,
    Key("seed", integer(0), 1, always=True),
    Key(
        "processes",
        integer(1, MAX_PROCESSES),
        None,
        about="Pack all replicas into so many processes. Default: one each.",
    ),
)
SCENARIO: Final = (
    Key("version", Form(_version, {"const": VERSION}), example=f"version: {VERSION}"),
    _FILE_DEFAULTS,
    *FIGURES,
    Key("services", raw(named_schema(_SERVICE.schema)), example="services: {gateway: …}"),
    Key("load", LOAD, example="load: {rate: 50/s, entry: a.b}"),
    Key("faults", FAULTS, None),
    Key("variants", raw(_VARIANTS), None),
    _EXPECTATIONS,
)


def _parse(source: str, file: str) -> tuple[Scenario, Lines]:
    lines: Lines = {}
    r = mapping(file, tree(source, file), "a scenario")
    said = read(SCENARIO, r)
    r.done()
    outer = _under(defaults(_OF_FILE), _OF_FILE, file, said["defaults"])
    parts: dict[str, Any] = {}
    wrong = Errors()
    with wrong.gathered():
        parts["services"] = _services(file, said["services"], outer, lines)
    with wrong.gathered():
        parts["load"] = read_load(mapping(file, said["load"], "load"), lines)
    with wrong.gathered():
        parts["faults"] = read_faults(file, said["faults"], lines)
    with wrong.gathered():
        parts["variants"] = _variants(file, said["variants"], lines)
    with wrong.gathered():
        parts["expectations"] = read_expectations(file, said["expectations"], lines)
    wrong.end()
    figures = {key.field: said[key.field] for key in FIGURES}
    scenario = Scenario(**figures | {"name": said["name"] or _stem(file)} | parts)
    _check(scenario, file, lines)
    return scenario, lines


Defaults = Mapping[str, Any]
"""What holds where nothing nearer is said, by field."""


def _under(outer: Defaults, keys: Iterable[Key], file: str, node: Node | None) -> Defaults:
    """``outer``, with a ``defaults`` block over it that may hold ``keys``."""
    if node is None:
        return outer
    r = mapping(file, node, "defaults")
    found = {**outer, **given(keys, r)}
    r.done()
    return found


def _services(file: str, node: Node, outer: Defaults, lines: Lines) -> dict[str, Service]:
    found: dict[str, Service] = {}
    r = mapping(file, node, "services")
    wrong = Errors()
    for name, item in _named(r):
        lines["service", name] = r.node.key_lines[name]
        with wrong.gathered():
            found[name] = _service(name, mapping(file, item, f"the service {name}"), outer, lines)
    wrong.end()
    return found


def _service(name: str, r: Reader, outer: Defaults, lines: Lines) -> Service:
    said = read(_OPERATIONS, r)
    figures = {key.field: outer[key.field] for key in OF_SERVICE} | given(OF_SERVICE, r)
    r.done()
    inner = _under(outer, _OF_STEPS, r.file, said["defaults"])
    place = Place(r.file, name, "", "", {}, "loop", lines, read_steps)
    operations = mapping(r.file, said["operations"], f"the operations of {name}")
    for operation, line in operations.node.key_lines.items():
        lines["operation", name, operation] = line
    found: dict[str, Operation] = {}
    wrong = Errors()
    for operation, item in _named(operations):
        with wrong.gathered():
            found[operation] = _operation(replace(place, operation=operation), item, inner)
    wrong.end()
    return Service(name=name, **figures, operations=found)


def _operation(empty: Place, node: Node, outer: Defaults) -> Operation:
    """At ``empty``, before any defaults."""
    steps = node
    if isinstance(node, Map):
        r = mapping(empty.file, node, f"the operation {empty.service}.{empty.operation}")
        said = read(_STEPS, r)
        r.done()
        outer = _under(outer, _OF_STEPS, r.file, said["defaults"])
        steps = said["steps"]
    options = {key.field: outer[key.field] for key in OPTIONS}
    place = replace(empty, options=options, where=outer[WHERE.field])
    return Operation(empty.operation, place.read(steps))


def _named(r: Reader) -> list[tuple[str, Node]]:
    """The entries of a mapping from names; refuses other keys, and an empty one."""
    if not r.node.items:
        raise bad(r.file, r.node, f"{r.what}: nothing in it")
    for key in r.node.items:
        if not is_name(key):
            raise bad_name(r.file, r.node.key_lines[key], key)
    return list(r.node.items.items())


def _variants(file: str, node: Node | None, lines: Lines) -> dict[str, Variant]:
    found: dict[str, Variant] = {}
    if node is None:
        return found
    r = mapping(file, node, "variants")
    wrong = Errors()
    for name, item in _named(r):
        if name == BASELINE:
            text = f"{BASELINE!r} is the scenario itself, and cannot be a variant"
            raise BadInput(text, file, r.node.key_lines[name])
        lines["variant", name] = r.node.key_lines[name]
        with wrong.gathered():
            found[name] = _variant(file, name, item, lines)
    wrong.end()
    return found


def _variant(file: str, name: str, node: Node, lines: Lines) -> Variant:
    if isinstance(node, List):
        return Variant(name, "", _refactors(file, node, name, lines), None)
    r = mapping(file, node, f"the variant {name}")
    said = read(_CHANGES, r)
    r.done()
    expected = said["expectations"]
    return Variant(
        name=name,
        description=said["description"],
        refactors=_refactors(file, said["refactors"], name, lines),
        expectations=None if expected is None else read_expectations(file, expected, lines, name),
    )


def _refactors(file: str, node: Node, variant: str, lines: Lines) -> tuple[Refactor, ...]:
    found = items(file, node, "refactors")
    for number, item in enumerate(found):
        lines["refactor", variant, str(number)] = item.line
    return tuple(read_refactor(file, item) for item in found)


def _check(scenario: Scenario, file: str, lines: Lines) -> None:
    """Raise the problems of the scenario, else the first of each of its variants, with their
    lines."""
    wrong = Errors()
    for problem in errors(scenario):
        with wrong.gathered():
            raise BadInput(problem.text, file, lines.get(problem.at), problem.hint)
    wrong.end()
    for variant in scenario.variants.values():
        with wrong.gathered():
            _check_variant(scenario, variant, file, lines)
    wrong.end()


def _check_variant(scenario: Scenario, variant: Variant, file: str, lines: Lines) -> None:
    changed = scenario
    for number, refactor in enumerate(variant.refactors):
        line = lines.get(("refactor", variant.name, str(number)))
        try:
            changed = apply_refactor(changed, refactor)
        except BadInput as error:
            raise BadInput(error.text, file, line, error.hint) from None
    for problem in errors(changed):
        line = lines.get(("variant", variant.name))
        text_ = f"the variant {variant.name}: {problem.text}"
        raise BadInput(text_, file, line, problem.hint)
