"""Which replicas share an operating system process, where a scenario packs its services.

Replicas are dealt out in turn, in file order. That is even in number, so in memory, to one; it puts
neighbours in the file, mostly a caller and its callee, and the replicas of one service into
different processes; and above all it does not hang on load or steps, so that every variant of a
scenario is packed alike and a comparison compares nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

from services.scenario.model import Scenario


@dataclass(frozen=True, slots=True)
class Pack:
    """One process, and the service and replica number of all that share it."""

    name: str
    """``order/0`` of one replica by itself, else ``pack/0``, numbered over the whole scenario."""
    replicas: tuple[tuple[str, int], ...]

    @property
    def shared(self) -> bool:
        return len(self.replicas) > 1

    @property
    def services(self) -> tuple[str, ...]:
        return tuple(service for service, _ in self.replicas)


def packs(scenario: Scenario) -> tuple[Pack, ...]:
    """Every replica once; without ``processes`` each by itself, and never an empty process."""
    replicas = [
        (service.name, replica)
        for service in scenario.services.values()
        for replica in range(service.replicas)
    ]
    count = min(scenario.processes or len(replicas), len(replicas))
    found = []
    for number in range(count):
        mine = tuple(replicas[number::count])
        name = f"pack/{number}" if len(mine) > 1 else "{}/{}".format(*mine[0])
        found.append(Pack(name, mine))
    return tuple(found)


def packed(scenario: Scenario) -> bool:
    """Whether any process holds more than one replica."""
    return any(pack.shared for pack in packs(scenario))
