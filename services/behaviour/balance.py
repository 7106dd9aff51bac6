"""Which replica a call goes to: decided by the caller, from what the caller itself knows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from services.scenario.chance import uniform
from services.scenario.model import Service


class Balancer(Protocol):
    """Picks a replica for each attempt, and is told when the attempt has ended."""

    draws: bool
    """Whether :meth:`pick` uses its key, which costs a hash to make."""

    def pick(self, key: int, attempt: int) -> int:
        """A replica number; ``key`` is that of the first item carried."""
        ...

    def start(self, replica: int) -> None: ...

    def end(self, replica: int) -> None: ...


class _Untold:
    """Balancers that do not care what became of their picks."""

    __slots__ = ()
    draws = False

    def start(self, replica: int) -> None:
        pass

    def end(self, replica: int) -> None:
        pass


class Only(_Untold):
    """A single replica."""

    __slots__ = ()

    def pick(self, key: int, attempt: int) -> int:
        return 0


class RoundRobin(_Untold):
    """In turn. Callers start at their own number, or all would start with replica 0."""

    __slots__ = ("_next", "_replicas")

    def __init__(self, replicas: int, first: int) -> None:
        self._replicas = replicas
        self._next = first % replicas

    def pick(self, key: int, attempt: int) -> int:
        picked = self._next
        self._next = (picked + 1) % self._replicas
        return picked


class Random(_Untold):
    """Drawn, so that one request asks the same replicas in every run."""

    __slots__ = ("_replicas",)
    draws = True

    def __init__(self, replicas: int) -> None:
        self._replicas = replicas

    def pick(self, key: int, attempt: int) -> int:
        return int(uniform(key, "balance", attempt) * self._replicas)


class LeastPending:
    """The replica with the fewest attempts of this caller under way; ties go in turn.

    Without the turn an idle caller would send everything to replica 0.
    """

    __slots__ = ("_next", "_pending")
    draws = False

    def __init__(self, replicas: int, first: int) -> None:
        self._pending = [0] * replicas
        self._next = first % replicas

    def pick(self, key: int, attempt: int) -> int:
        pending = self._pending
        replicas = len(pending)
        least = min(pending)
        for step in range(replicas):
            replica = (self._next + step) % replicas
            if pending[replica] == least:
                self._next = (replica + 1) % replicas
                return replica
        raise AssertionError("one of the replicas has the minimum")

    def start(self, replica: int) -> None:
        self._pending[replica] += 1

    def end(self, replica: int) -> None:
        self._pending[replica] -= 1


_BALANCERS: dict[str, Callable[[int, int], Balancer]] = {
    "round_robin": RoundRobin,
    "random": lambda replicas, first: Random(replicas),
    "least_pending": LeastPending,
}


def balancer(callee: Service, caller_replica: int) -> Balancer:
    """The balancer that one caller process uses for ``callee``."""
    if callee.replicas == 1:
        return Only()
    return _BALANCERS[callee.balance](callee.replicas, caller_replica)


def another(replica: int, replicas: int, u: float) -> int:
    """A replica that is not ``replica``, by a draw ``u`` in [0, 1); at least two must exist."""
    return (replica + 1 + int(u * (replicas - 1))) % replicas
