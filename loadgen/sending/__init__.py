"""Senders by protocol, loaded when first used: grpc takes half a second to import.

A sender module has ``senders(ways, asks)``, which makes all senders of its protocol.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from importlib import import_module
from typing import Final

from loadgen.plan import Plan
from loadgen.sending.asks import Asks
from loadgen.sending.port import Sender, Way

SENDERS: Final[Mapping[str, str]] = {
    "http": "loadgen.sending.http",
    "grpc": "loadgen.sending.grpc",
}
_WARM_LATENCY_S: Final = 0.05
"""Enough connections are opened beforehand for answers that take so long."""
_FEWEST, _MOST = 4, 64


def of(plan: Plan, asks: Asks) -> dict[int, Sender]:
    """A sender for each entry of the plan, by its number; none is open yet.

    Entries over Kafka have none here: loadgen/kafka/entries.py."""
    entries = plan.load.entries
    total = sum(entry.weight for entry in entries)
    at_once = _at_once(plan)
    ways = {
        i: Way(entry, addresses, _warm(at_once * entry.weight / total, len(addresses), plan))
        for i, (entry, addresses) in enumerate(zip(entries, plan.addresses, strict=True))
        if entry.protocol != "kafka"
    }
    made: dict[int, Sender] = {}
    for protocol in dict.fromkeys(way.entry.protocol for way in ways.values()):
        mine = [i for i, way in ways.items() if way.entry.protocol == protocol]
        module = import_module(SENDERS[protocol])
        made.update(zip(mine, module.senders([ways[i] for i in mine], asks), strict=True))
    return made


def _at_once(plan: Plan) -> float:
    rate = plan.load.pace.peak_rps
    return plan.users if rate is None else rate / plan.workers * _WARM_LATENCY_S


def _warm(at_once: float, replicas: int, plan: Plan) -> int:
    wanted = math.ceil(at_once / replicas)
    return min(max(wanted, _FEWEST), _MOST, plan.max_in_flight)
