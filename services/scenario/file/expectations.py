"""``expectations``: the findings that a scenario plants, read and written.

    - {kind: chatty.sequential, edge: order->inventory.reserve}
    - {kind: fanout.straggler, where: {caller: page, instance: catalog/2}}

``edge`` is short for the keys of ``where`` that it names.
"""

from __future__ import annotations

from typing import Final

from services.scenario.model import Expectation
from services.scenario.refactors.operator import edge_ref
from services.scenario.text.reader import items, mapping, text, word
from services.scenario.text.source import Node

KINDS: Final = (
    "chatty.sequential",
    "chatty.parallel",
    "chatty.redundant",
    "chain",
    "fanout.sequential",
    "fanout.storm",
    "fanout.straggler",
    "retry.storm",
    "protocol.tax",
    "payload.oversize",
)
WHERE: Final = ("caller", "caller_operation", "callee", "operation", "protocol", "instance")


def read_expectations(
    file: str | None, node: Node, *, lines: dict[tuple[str, ...], int], variant: str = ""
) -> tuple[Expectation, ...]:
    found = []
    for number, item in enumerate(items(file, node, "expectations")):
        lines["expectation", variant, str(number)] = item.line
        found.append(_expectation(file, item))
    return tuple(found)


def _expectation(file: str | None, node: Node) -> Expectation:
    r = mapping(file, node, "an expectation")
    kind = word(KINDS)(file, r.need("kind", "kind: chatty.sequential"))
    where: dict[str, str] = {}
    edge = r.get("edge", edge_ref, None)
    if edge is not None:
        where["caller"] = edge.caller
        if edge.caller_operation is not None:
            where["caller_operation"] = edge.caller_operation
        where["callee"] = edge.callee
        where["operation"] = edge.operation
    if (given := r.take("where")) is not None:
        inner = mapping(file, given, "where")
        for key in WHERE:
            if (value := inner.get(key, text, None)) is not None:
                where[key] = value
        inner.done()
    r.done()
    return Expectation(kind, where)


def write_expectations(expectations: tuple[Expectation, ...]) -> list[object]:
    return [{"kind": e.kind, **({"where": dict(e.where)} if e.where else {})} for e in expectations]
