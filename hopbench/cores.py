"""Which cores the parts of a round run on, where there are enough to keep them apart.

Four are enough: one for the generator, one for broker, collector and bench, the rest for services.
With fewer everything shares everything, and the round carries the doubt ``cores_shared``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from hopbench.hostload import tree

ENOUGH = 4


@dataclass(frozen=True, slots=True)
class Cores:
    generator: frozenset[int]
    harness: frozenset[int]
    services: frozenset[int]

    def pin_generator(self, pid: int) -> None:
        _pin(pid, self.generator)

    def pin_harness(self, pid: int) -> None:
        """Broker, collector and the bench itself."""
        _pin(pid, self.harness)

    def pin_services(self, node: int) -> None:
        """A node, its fork server, and by inheritance all that it forks from now on."""
        _pin(node, self.services)


def place() -> Cores | None:
    """A partition of the cores that this process may use; None where it can't be made."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < ENOUGH:
        return None
    return Cores(frozenset(usable[:1]), frozenset(usable[1:2]), frozenset(usable[2:]))


def _pin(root: int, cores: frozenset[int]) -> None:
    for pid in tree(root):
        # Every thread has an affinity of its own; those that exist by now are moved, too.
        for thread in _threads(pid):
            try:
                os.sched_setaffinity(thread, cores)
            except ProcessLookupError:
                continue


def _threads(pid: int) -> list[int]:
    try:
        return [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    except OSError:
        return []
