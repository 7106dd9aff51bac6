"""Wire names to the scenario's own: what Facts know about operations, applied to a span table.

In documents about a scenario an operation has the scenario's name, whatever the protocol and the
instrumentation: ``POST /reserve/{key}``, ``hopbench.v1.Inventory/Reserve`` and the topic
``inventory.reserve`` are all ``reserve`` of ``inventory``.
"""

from __future__ import annotations

from dataclasses import replace

from analysis.arrays import NONE
from analysis.arrays.codes import Codes
from analysis.arrays.grouping import distinct
from analysis.spans.table import Kind, SpanTable
from services.scenario.facts import Facts


def by_scenario(spans: SpanTable, facts: Facts) -> SpanTable:
    """``spans`` with operations and peers named as the scenario does.

    What the scenario does not know keeps its name. Doing it twice changes nothing.
    """
    if not facts.known or len(spans) == 0:
        return spans
    codes = Codes(spans.names)
    services = frozenset(service for service, _ in facts.operations.values())

    told = distinct(spans.kind, spans.service, spans.operation, spans.peer)
    operation = spans.operation[told.first].copy()
    peer = spans.peer[told.first].copy()
    for number, row in enumerate(told.first.tolist()):
        kind = int(spans.kind[row])
        if kind in (Kind.UNSPECIFIED, Kind.INTERNAL) or operation[number] == NONE:
            continue
        serving = kind in (Kind.SERVER, Kind.CONSUMER)
        other = spans.name(int((spans.service if serving else spans.peer)[row]))
        wire = spans.names[operation[number]]
        found = facts.operation_of(wire, other if other in services else None)
        if found is None:
            continue
        operation[number] = codes[found[1]]
        if not serving:
            peer[number] = codes[found[0]]
    return replace(
        spans,
        operation=operation[told.of],
        peer=peer[told.of],
        names=tuple(codes),
    )
