"""A scenario file → frozen values. Read, then validated, then frozen; never half-built.

Every error is one BadInput with file, line, the offending text and, where there is one, a hint.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from importlib import resources
from pathlib import Path
from typing import Final, Literal

from services.errors import BadInput
from services.scenario.file.expectations import read_expectations
from services.scenario.file.load import Later, Lines, read_faults, read_load
from services.scenario.file.steps import read_steps
from services.scenario.file.steps.kind import Place
from services.scenario.file.steps.time import WHERE, Where
from services.scenario.file.validation import errors
from services.scenario.limits import MAX_NAME, MAX_PROCESSES, MAX_REPLICAS
from services.scenario.model import Operation, Refactor, Scenario, Service, Variant
from services.scenario.names import is_name
from services.scenario.refactors import BASELINE, apply_refactor, read_refactor
from services.scenario.text import edges
from services.scenario.text.reader import (
    Reader,
    bad,
    bad_name,
    did_you_mean,
    integer,
    items,
    mapping,
    optional,
    shown,
    text,
    word,
)
from services.scenario.text.source import MAX_BYTES, Leaf, List, Map, Node, decode, tree

Balance = Literal["round_robin", "random", "least_pending"]
BALANCES: Final[tuple[Balance, ...]] = ("round_robin", "random", "least_pending")
VERSION: Final = 1
BUNDLED: Final = "scenarios"
STDIN: Final = "-"
_REPLICAS: Final = integer(1, MAX_REPLICAS)


@dataclass(frozen=True, slots=True)
class Loaded:
    scenario: Scenario
    text: str
    """The file as it was read."""
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


def _parse(source: str, file: str) -> tuple[Scenario, Lines]:
    lines: Lines = {}
    later = Later(file)
    r = mapping(file, tree(source, file), "a scenario")
    _version(r)
    defaults = _Defaults(edges.BUILTIN, "loop", 1, "round_robin", None).under(
        r.file, r.take("defaults"), services=True
    )
    scenario = Scenario(
        name=r.get("name", _title, _stem(file)),
        description=r.get("description", text, ""),
        seed=r.get("seed", integer(0), 1),
        services=_services(file, r.need("services", "services: {gateway: …}"), defaults, lines),
        load=read_load(
            mapping(file, r.need("load", "load: {rate: 50/s, entry: a.b}"), "load"), later, lines
        ),
        faults=r.get("faults", partial(read_faults, lines=lines), ()),
        variants=r.get("variants", partial(_variants, lines=lines), {}),
        expectations=r.get("expectations", partial(read_expectations, lines=lines), ()),
        processes=r.get("processes", integer(1, MAX_PROCESSES), None),
    )
    r.done()
    _check(scenario, file, lines)
    for refusal in sorted(later.found, key=lambda error: error.line or 0):
        raise refusal
    return scenario, lines


def _version(r: Reader) -> None:
    node = r.need("version", f"version: {VERSION}")
    if not isinstance(node, Leaf) or node.value != VERSION or isinstance(node.value, bool):
        raise bad(r.file, node, f"this reads version {VERSION}", f"write version: {VERSION}")


def _title(file: str | None, node: Node) -> str:
    """A scenario's name: a run directory is named by it, and terminals show it."""
    found = text(file, node)
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


@dataclass(frozen=True, slots=True)
class _Defaults:
    """What holds where nothing nearer is said."""

    values: edges.Values
    where: Where
    replicas: int
    balance: Balance
    workers: int | None

    def under(self, file: str | None, node: Node | None, *, services: bool = False) -> _Defaults:
        """These, with a ``defaults`` block over them; ``services``: it may speak of those, too."""
        if node is None:
            return self
        r = mapping(file, node, "defaults")
        changed = _Defaults(
            values={**self.values, **edges.given(r)},
            where=r.get("where", WHERE, self.where),
            replicas=r.get("replicas", _REPLICAS, self.replicas) if services else self.replicas,
            balance=r.get("balance", word(BALANCES), self.balance) if services else self.balance,
            workers=r.get("workers", optional(integer(1), "unlimited"), self.workers)
            if services
            else self.workers,
        )
        r.done()
        return changed


def _services(
    file: str | None, node: Node, defaults: _Defaults, lines: Lines
) -> dict[str, Service]:
    found: dict[str, Service] = {}
    r = mapping(file, node, "services")
    for name, item in _named(r):
        lines["service", name] = r.node.key_lines[name]
        found[name] = _service(name, mapping(file, item, f"the service {name}"), defaults, lines)
    return found


def _service(name: str, r: Reader, outer: _Defaults, lines: Lines) -> Service:
    defaults = outer.under(r.file, r.take("defaults"))
    node = r.need("operations", "operations: {create: [work: 1ms]}")
    place = Place(r.file, name, "", "", defaults.values, defaults.where, lines, read_steps)
    operations = mapping(r.file, node, f"the operations of {name}")
    for operation, line in operations.node.key_lines.items():
        lines["operation", name, operation] = line
    service = Service(
        name=name,
        replicas=r.get("replicas", _REPLICAS, defaults.replicas),
        balance=r.get("balance", word(BALANCES), defaults.balance),
        max_concurrent=r.get("workers", optional(integer(1), "unlimited"), defaults.workers),
        operations={
            operation: _operation(defaults, place, operation, item)
            for operation, item in _named(operations)
        },
    )
    r.done()
    return service


def _operation(outer: _Defaults, empty: Place, name: str, node: Node) -> Operation:
    """``empty`` is a place in the service; the operation's defaults fill it."""
    file = empty.file
    defaults, steps = outer, node
    if isinstance(node, Map):
        r = mapping(file, node, f"the operation {empty.service}.{name}")
        defaults = outer.under(file, r.take("defaults"))
        steps = r.need("steps", "steps: [work: 1ms]")
        r.done()
    place = replace(empty, operation=name, values=defaults.values, where=defaults.where)
    return Operation(name, place.read(steps))


def _named(r: Reader) -> list[tuple[str, Node]]:
    """The entries of a mapping from names; refuses other keys, and an empty one."""
    if not r.node.items:
        raise bad(r.file, r.node, f"{r.what}: nothing in it")
    for key in r.node.items:
        if not is_name(key):
            raise bad_name(r.file, r.node.key_lines[key], key)
    return list(r.node.items.items())


def _variants(file: str | None, node: Node, lines: Lines) -> dict[str, Variant]:
    found: dict[str, Variant] = {}
    r = mapping(file, node, "variants")
    for name, item in _named(r):
        if name == BASELINE:
            text_ = f"{BASELINE!r} is the scenario itself, and cannot be a variant"
            raise BadInput(text_, file, r.node.key_lines[name])
        lines["variant", name] = r.node.key_lines[name]
        found[name] = _variant(file, name, item, lines)
    return found


def _variant(file: str | None, name: str, node: Node, lines: Lines) -> Variant:
    if isinstance(node, List):
        return Variant(name, "", _refactors(file, node, name, lines), None)
    r = mapping(file, node, f"the variant {name}")
    variant = Variant(
        name=name,
        description=r.get("description", text, ""),
        refactors=_refactors(file, r.need("refactors", "refactors: [{op: batch, …}]"), name, lines),
        expectations=r.get(
            "expectations", partial(read_expectations, lines=lines, variant=name), None
        ),
    )
    r.done()
    return variant


def _refactors(file: str | None, node: Node, variant: str, lines: Lines) -> tuple[Refactor, ...]:
    found = items(file, node, "refactors")
    for number, item in enumerate(found):
        lines["refactor", variant, str(number)] = item.line
    return tuple(read_refactor(file, item) for item in found)


def _check(scenario: Scenario, file: str, lines: Lines) -> None:
    """Raise the first problem of the scenario, then of its variants, with its line."""
    for problem in errors(scenario):
        raise BadInput(problem.text, file, lines.get(problem.at), problem.hint)
    for variant in scenario.variants.values():
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
