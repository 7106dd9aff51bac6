"""How requests went through a service in one round, second by second, as its replicas counted them.

Spans tell of requests that ended in a complete trace; a service that falls behind is known by the
others. Whoever ran the services counts (hopbench/results/flows.py); other traces have no counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from analysis.arrays import I64


@dataclass(frozen=True)
class Flow:
    """Requests of one operation over one protocol, or of several together. The columns are counts
    by second, parallel."""

    round: int
    service: str
    instance: str | None
    """Of one replica alone, whose messages are not counted."""
    operation: str | None
    """None where there are several."""
    protocol: str | None
    second: I64
    """0 is the first of the measured phase; warm-up is below."""
    arrived: I64
    """At the service, or with Kafka, whether or not a consumer had read them."""
    left: I64
    """Left the queue: taken by a worker, or given up there."""
    handled: I64
    """Taken, and brought to an end within the deadline."""
    measured_s: int
    """Whole seconds of the measured phase."""
    due_for_sent: float = 1.0
    """Requests of the load that were due in the round, to those that were sent and not dropped."""

    @cached_property
    def waiting(self) -> I64:
        """In the queue when each second ended."""
        return np.cumsum(self.arrived - self.left)

    @property
    def begins(self) -> int:
        """The column of the first second of the measured phase."""
        return int(np.searchsorted(self.second, 0))

    @property
    def ends(self) -> int:
        """The column behind its last whole second."""
        return self.begins + self.measured_s


def together(flows: Iterable[Flow]) -> tuple[Flow, ...]:
    """All that went through one service in one round as one flow; the operation and the protocol
    are those that waited, if only one did."""
    return _by(flows, lambda flow: flow.service if flow.instance is None else None)


def by_instance(flows: Iterable[Flow]) -> tuple[Flow, ...]:
    """The same of each replica."""
    return _by(flows, lambda flow: flow.instance)


def _by(flows: Iterable[Flow], key: Callable[[Flow], str | None]) -> tuple[Flow, ...]:
    groups: dict[tuple[int, str], list[Flow]] = {}
    for flow in flows:
        if (name := key(flow)) is not None:
            groups.setdefault((flow.round, name), []).append(flow)
    return tuple(_sum(alike) for alike in groups.values())


def _sum(flows: Sequence[Flow]) -> Flow:
    queued = [flow for flow in flows if flow.waiting.any()] or flows
    operations, protocols = {f.operation for f in queued}, {f.protocol for f in queued}
    first = flows[0]
    return Flow(
        round=first.round,
        service=first.service,
        instance=first.instance,
        operation=operations.pop() if len(operations) == 1 else None,
        protocol=protocols.pop() if len(protocols) == 1 else None,
        second=first.second,
        arrived=np.sum([flow.arrived for flow in flows], axis=0),
        left=np.sum([flow.left for flow in flows], axis=0),
        handled=np.sum([flow.handled for flow in flows], axis=0),
        measured_s=first.measured_s,
        due_for_sent=first.due_for_sent,
    )
