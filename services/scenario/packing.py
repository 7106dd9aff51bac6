"""Which replicas share an operating system process, where a scenario packs its services.

Replicas are dealt out in turn, in file order. That is even in number, so in memory, to one; it puts
neighbours in the file, mostly a caller and its callee, and the replicas of one service into
different processes; and above all it does not hang on load or steps, so that every variant of a
scenario is packed alike and a comparison compares nothing else.
"""

from __future__ import annotations

from services.scenario.model import Scenario

Group = tuple[tuple[str, int], ...]
"""Service and replica number of all that share one process."""


def packs(scenario: Scenario) -> tuple[Group, ...]:
    """Every replica once; without ``processes`` each by itself, and never an empty process."""
    replicas = [
        (service.name, replica)
        for service in scenario.services.values()
        for replica in range(service.replicas)
    ]
    number = min(scenario.processes or len(replicas), len(replicas))
    return tuple(tuple(replicas[first::number]) for first in range(number))


def packed(scenario: Scenario) -> bool:
    """Whether any process holds more than one replica."""
    replicas = sum(service.replicas for service in scenario.services.values())
    return scenario.processes is not None and scenario.processes < replicas
