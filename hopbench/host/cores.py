"""Which cores the parts of a round run on, where there are enough to keep them apart.

Four are enough: one for the generator, one for broker, collector and bench, the rest for services.
Each further Locust worker needs one more. With fewer everything shares everything, and the round
carries the doubt ``cores_shared``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from hopbench.host.load import tree
from services.system.cores import usable_cores

ENOUGH = 4


@dataclass(frozen=True, slots=True)
class Cores:
    generator: frozenset[int]
    harness: frozenset[int]
    services: frozenset[int]

    def pin_generator(self, pids: Sequence[int]) -> None:
        """The only one; or a master, which sends nothing itself, and workers, each on one core."""
        if len(pids) > 1:
            self.pin_harness(pids[0])
        for pid, core in zip(pids[len(pids) > 1 :], sorted(self.generator), strict=True):
            _pin(pid, frozenset((core,)))

    def pin_harness(self, pid: int) -> None:
        """Broker, collector and Locust's master; beside them, the bench (:meth:`pin_bench`)."""
        _pin(pid, self.harness)

    def pin_bench(self) -> None:
        """This process alone: what it has started keeps its cores, what it starts inherits them."""
        _pin_threads(os.getpid(), self.harness)

    def release_bench(self) -> None:
        _pin_threads(os.getpid(), self.generator | self.harness | self.services)

    def pin_services(self, node: int) -> None:
        """A node, its fork server, and by inheritance all that it forks from now on."""
        _pin(node, self.services)


def place(workers: int = 1) -> Cores | None:
    """A partition of the cores that this process may use; None where it can't be made."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    usable = sorted(usable_cores())
    if len(usable) < ENOUGH + workers - 1:
        return None
    return Cores(
        frozenset(usable[:workers]),
        frozenset(usable[workers : workers + 1]),
        frozenset(usable[workers + 1 :]),
    )


def _pin(root: int, cores: frozenset[int]) -> None:
    for pid in tree(root):
        _pin_threads(pid, cores)


def _pin_threads(pid: int, cores: frozenset[int]) -> None:
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
