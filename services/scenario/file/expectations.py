"""``expectations``: the findings that a scenario plants, read and written.

    - {kind: chatty.sequential, edge: order->inventory.reserve}
    - {kind: fanout.straggler, where: {caller: page, instance: catalog/2}}

``edge`` is short for the keys of ``where`` that it names.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Final

from services.scenario.findings import FINDINGS
from services.scenario.model import Expectation
from services.scenario.text.edges import EDGE
from services.scenario.text.forms import (
    TEXT,
    Form,
    Key,
    given,
    list_schema,
    mapping_schema,
    raw,
    read,
    word,
)
from services.scenario.text.reader import Lines, items, mapping
from services.scenario.text.source import Node

_WHERE: Final = tuple(
    Key(key, TEXT, None)
    for key in ("caller", "caller_operation", "callee", "operation", "protocol", "instance")
)


def _where(file: str, node: Node) -> dict[str, str]:
    r = mapping(file, node, "where")
    said = given(_WHERE, r)
    r.done()
    return said


_KEYS: Final = (
    Key("kind", word(FINDINGS.keys()), example="kind: chatty.sequential"),
    Key("edge", EDGE, None),
    Key("where", Form(_where, mapping_schema(_WHERE)), {}),
)
EXPECTATIONS: Final = raw(list_schema(raw(mapping_schema(_KEYS)).named("expectation").schema))


def read_expectations(
    file: str, node: Node | None, lines: Lines, variant: str = ""
) -> tuple[Expectation, ...]:
    found = []
    for number, item in enumerate(items(file, node, "expectations")):
        lines["expectation", variant, str(number)] = item.line
        found.append(_expectation(file, item))
    return tuple(found)


def _expectation(file: str, node: Node) -> Expectation:
    r = mapping(file, node, "an expectation")
    said = read(_KEYS, r)
    r.done()
    named = {} if said["edge"] is None else asdict(said["edge"])
    where = {key: value for key, value in named.items() if value is not None}
    return Expectation(said["kind"], where | said["where"])


def write_expectations(expectations: tuple[Expectation, ...]) -> list[object]:
    return [{"kind": e.kind, **({"where": dict(e.where)} if e.where else {})} for e in expectations]
