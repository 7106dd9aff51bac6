"""Scenarios as people have them, drawn: a tree of three to eight services whose edges are what
call graphs are made of, with what goes wrong in them. The same number gives the same text."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

import yaml

from services.scenario.capacity import shape
from services.scenario.file.parser import parse_text
from services.scenario.model import Scenario

NAMES: Final = ("gateway", "order", "stock", "price", "payment", "ledger", "mail", "search")
_MOST_CALLS: Final = 20
_UTILISATION: Final = (0.3, 0.6)
_MOST_BUSY: Final = 0.3
"""Of a replica's core, by work on its loop."""


@dataclass
class _Node:
    name: str
    children: list[_Node] = field(default_factory=list)
    replicas: int = 1
    workers: int | None = None

    @property
    def target(self) -> str:
        return f"{self.name}.do"


def text(
    number: int,
    *,
    rate: int = 40,
    duration: str = "500ms",
    warmup: str = "100ms",
    processes: int = 0,
) -> str:
    """YAML of the scenario ``number``, with ``rate`` requests a second; ``processes`` packs its
    services, 0: each by itself."""
    for attempt in count():
        chance = random.Random(f"scenario:{number}:{attempt}")
        document = _document(chance, number)
        document["load"] |= {"rate": f"{rate}/s", "duration": duration, "warmup": warmup}
        if processes:
            document["processes"] = processes
        scenario = parse_text(_yaml(document))
        if shape(scenario).calls_worst <= _MOST_CALLS and _unhurried(scenario):
            _limit(chance, document, scenario)
            return _yaml(document)
    raise AssertionError("attempts never end")


def _yaml(document: dict[str, Any]) -> str:
    return yaml.safe_dump(document, sort_keys=False)


def _unhurried(scenario: Scenario) -> bool:
    """Whether no replica works for most of the time."""
    demand = shape(scenario).demand
    return all(
        demand[service.name].cpu_cores < _MOST_BUSY * service.replicas
        for service in scenario.services.values()
    )


def _limit(chance: random.Random, document: dict[str, Any], scenario: Scenario) -> None:
    """Some services handle a bounded number of requests at once, and most of the time fewer."""
    demand = shape(scenario).demand
    for name, service in document["services"].items():
        if chance.random() < 0.2:
            busy = demand[name].busy / scenario.services[name].replicas
            service["workers"] = max(4, round(busy / chance.uniform(*_UTILISATION)) + 1)


def _document(chance: random.Random, number: int) -> dict[str, Any]:
    nodes = [_Node(name) for name in NAMES[: chance.randint(3, 8)]]
    long = chance.random() < 0.35
    for i, node in enumerate(nodes[1:], 1):
        parent = nodes[i - 1] if long and i < 7 else nodes[chance.randrange(max(0, i - 3), i)]
        parent.children.append(node)
    faults: list[dict[str, Any]] = []
    services = {node.name: _service(chance, node, faults) for node in nodes}
    document: dict[str, Any] = {
        "version": 1,
        "name": f"random-{number}",
        "seed": number,
        "defaults": {"protocol": chance.choice(["http", "http", "grpc"])},
        "services": services,
        "load": {"entry": nodes[0].target},
    }
    if faults:
        document["faults"] = faults
    return document


def _service(chance: random.Random, node: _Node, faults: list[dict[str, Any]]) -> dict[str, Any]:
    service: dict[str, Any] = {}
    own = [_own(chance, bool(node.children))]
    calls = [_edge(chance, child, faults) for child in node.children]
    if len(calls) > 1 and chance.random() < 0.25:
        calls = [{"parallel": calls}]
    elif len(calls) > 1 and chance.random() < 0.25:
        first = next((call for call in calls if "call" in call), None)
        if first is not None and first is not calls[-1] and "call" in calls[-1]:
            first["id"] = f"{node.name}-first"
            calls[-1]["after"] = first["id"]
    elif calls and chance.random() < 0.3:
        for i, call in enumerate(calls):
            if "call" in call:
                call["id"] = f"{node.name}-{i}"
        needed = [call["id"] for call in calls if "id" in call]
        if needed:
            calls.append({"work": "0.05ms", "after": needed})
    if node.replicas > 1:
        service["replicas"] = node.replicas
    service["operations"] = {"do": own + calls}
    return service


def _own(chance: random.Random, calls: bool) -> dict[str, Any]:
    """What an operation does by itself: little where it calls others."""
    middle = chance.uniform(0.3, 1.5) if calls else chance.uniform(1, 6)
    match chance.randrange(6):
        case 0:
            return {"work": f"{min(middle, 1):.2f}ms"}
        case 1:
            sigma = round(chance.uniform(0.3, 0.9), 2)
            return {"sleep": {"lognormal": {"median": f"{middle:.2f}ms", "sigma": sigma}}}
        case 2:
            return {"sleep": {"exponential": f"{middle:.2f}ms"}}
        case 3:
            each = middle / chance.choice([2, 5, 20])
            return {"sleep": {"time": f"{middle:.2f}ms", "per_item": f"{each:.2f}ms"}}
        case _:
            return {"sleep": f"{middle:.2f}ms"}


def _edge(chance: random.Random, child: _Node, faults: list[dict[str, Any]]) -> dict[str, Any]:
    call: dict[str, Any] = {"call": child.target}
    if chance.random() < 0.15:
        call["protocol"] = chance.choice(["http", "grpc", "kafka"])
    leaf = not child.children
    match chance.choices(_KINDS, _WEIGHTS if leaf else _ABOVE)[0]:
        case "repeat":
            call["count"] = chance.randint(5, 12) if leaf else chance.randint(5, 6)
        case "few":
            call["count"] = chance.randint(2, 4)
        case "burst":
            call |= {"count": chance.randint(5, 12), "max_parallel": "all"}
        case "storm":
            call |= {"count": chance.randint(22, 30), "max_parallel": "all"}
        case "keyed":
            call |= {"count": chance.randint(6, 10), "key": {"distinct": chance.randint(1, 3)}}
            if chance.random() < 0.3:
                call["max_parallel"] = chance.randint(2, 4)
        case "straggling":
            call |= {"count": chance.randint(3, 6), "max_parallel": "all"}
            call.pop("protocol", None)
            child.replicas = chance.randint(2, 3)
            fault = {
                "latency": f"{chance.randint(10, 40)}ms",
                "at": {"service": child.name, "replica": chance.randrange(child.replicas)},
            }
            if chance.random() < 0.5:
                fault["probability"] = f"{chance.randint(10, 80)}%"
            faults.append(fault)
        case "failing":
            wait = f"{chance.randint(2, 10)}ms"
            call |= {"retry": {"max": chance.randint(2, 4), "backoff": wait}, "on_error": "ignore"}
            faults.append({"error": f"{chance.randint(5, 70)}%", "at": {"service": child.name}})
        case "sometimes":
            call |= {"count": chance.randint(4, 9), "probability": f"{chance.randint(50, 95)}%"}
        case "publish":
            call = {"publish": child.target}
        case _:
            pass
    return call


_KINDS: Final = (
    "one", "repeat", "few", "burst", "storm", "keyed", "straggling", "failing", "sometimes",
    "publish",
)  # fmt: skip
_WEIGHTS: Final = (5, 4, 2, 2, 1, 3, 3, 1, 1, 1)
_ABOVE: Final = (10, 1, 1, 0, 0, 0, 1, 1, 0, 1)
"""Of a callee that calls others."""
