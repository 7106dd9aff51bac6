"""The lean instrumentation: one tuple appended when an end of a hop is done, and nothing else.

What a request pays for, by design:

- sampled: a random span id and one record of 17 fields;
- not sampled: no id (the caller's context is handed on as it came), the same record for the
  metrics.

Attributes, names, encoding, metrics and export happen elsewhere and later (spans.py, encoding.py,
metrics.py, pipeline.py).
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from typing import Final

from services.scenario.model import Target
from services.telemetry.port import Attempt, Fanout, Scope
from services.telemetry.records import CLIENT, CONSUMER, INTERNAL, PRODUCER, SERVER, Record
from services.wire import ticket
from services.wire.ports import Clock, Incoming, Outgoing, Reply, TraceContext, Wire
from services.wire.topology import Topology

IdSource = Callable[[int], int]
"""Random bits, as ``random.Random.getrandbits``."""

_UNTRACED: Final = TraceContext(0, 0, False)
_ITEMS_TABLE: Final = 4096

# Calling the NamedTuple's class costs twice as much as the tuple it makes.
_new_tuple: Final = tuple.__new__


class Sites(dict[str, int]):
    """A service's operations and their indices, each looked up when it is first served.

    In virtual time a topology may hold 100,000 services, too many to be searched by each of them.
    """

    def __init__(self, topology: Topology, service: str) -> None:
        super().__init__()
        self._index = topology.operation_index
        self._service = service

    def __missing__(self, operation: str) -> int:
        index = self[operation] = self._index[Target(self._service, operation)]
        return index


class LeanTelemetry:
    """Hop records of one service replica.

    ``records`` is appended to here and emptied by whoever derives from it; the list object stays
    the same. ``ids`` makes runs repeatable where given; otherwise a generator seeded from the
    operating system, one for each instance, so that forked processes never share a sequence.
    """

    def __init__(
        self,
        topology: Topology,
        service: str,
        replica: int,
        clock: Clock,
        ids: IdSource | None = None,
    ) -> None:
        self.topology = topology
        self.service = service
        self.replica = replica
        self.records: list[Record] = []
        self.now_ns = clock.now_ns
        self.ids: IdSource = ids or random.Random(os.urandom(32)).getrandbits
        self._append = self.records.append
        self._sites = Sites(topology, service)
        self._items: dict[str, int] = {}

    def server_begin(self, incoming: Incoming) -> Scope:
        came = incoming.trace
        if came is None:
            trace = TraceContext(self.ids(128) or 1, self.ids(64) or 1, True)
        elif came.sampled:
            trace = _new_tuple(TraceContext, (came.trace_id, self.ids(64) or 1, True))
        else:
            trace = came
        return Scope(trace, incoming, incoming.received_ns)

    def server_end(self, scope: Scope, reply: Reply) -> None:
        incoming = scope.incoming
        came = incoming.trace
        trace_id, span_id, sampled = scope.trace
        self._append(
            (
                CONSUMER if incoming.mode == "publish" else SERVER,
                self._sites[incoming.operation],
                trace_id,
                span_id,
                0 if came is None else came.span_id,
                sampled,
                scope.start_ns,
                self.now_ns(),
                +reply.status,
                incoming.request_bytes,
                reply.response_bytes,
                incoming.attempt,
                self._items_of(incoming.ticket),
                scope.calls,
                incoming.protocol,
                incoming.key,
                scope.queue_ns,
            )
        )

    def fanout_begin(self, scope: Scope, parent: TraceContext) -> Fanout:
        if not parent.sampled:
            return Fanout(parent, parent, 0)
        trace = _new_tuple(TraceContext, (parent.trace_id, self.ids(64) or 1, True))
        return Fanout(parent, trace, self.now_ns())

    def fanout_end(self, scope: Scope, fanout: Fanout) -> None:
        trace_id, span_id, sampled = fanout.trace
        if not sampled:
            return
        self._append(
            (
                INTERNAL,
                self._sites[scope.incoming.operation],
                trace_id,
                span_id,
                fanout.parent.span_id,
                sampled,
                fanout.start_ns,
                self.now_ns(),
                0,
                0,
                0,
                0,
                fanout.calls,
                fanout.failures,
                0,
                None,
                0,
            )
        )

    def attempt_begin(self, wire: Wire, parent: TraceContext, *, fanout: bool) -> Attempt:
        trace = parent
        if parent.sampled:
            trace = _new_tuple(TraceContext, (parent.trace_id, self.ids(64) or 1, True))
        return Attempt(wire, parent, trace, self.now_ns(), fanout)

    def attempt_end(self, attempt: Attempt, out: Outgoing, items: int, reply: Reply) -> None:
        end = self.now_ns()
        trace_id, span_id, sampled = attempt.trace or _UNTRACED
        wire = attempt.wire
        self._append(
            (
                PRODUCER if wire.mode == "publish" else CLIENT,
                wire.index,
                trace_id,
                span_id,
                attempt.parent.span_id,
                sampled,
                attempt.start_ns,
                end,
                +reply.status,
                out.request_bytes,
                reply.response_bytes,
                out.attempt,
                items,
                1 if attempt.fanout else 0,
                out.replica,
                out.key,
                0,
            )
        )

    def _items_of(self, text: str) -> int:
        """How many items a ticket carries. All but its leading key repeats, hence the table."""
        groups = text[17:]
        count = self._items.get(groups)
        if count is None:
            if len(self._items) >= _ITEMS_TABLE:
                self._items.clear()
            count = self._items[groups] = ticket.count(groups)
        return count


class NullTelemetry(LeanTelemetry):
    """``--tracing off``: records for the metrics, no spans, no context, no ``traceparent``."""

    def server_begin(self, incoming: Incoming) -> Scope:
        return Scope(_UNTRACED, incoming, incoming.received_ns)

    def attempt_begin(self, wire: Wire, parent: TraceContext, *, fanout: bool) -> Attempt:
        return Attempt(wire, parent, None, self.now_ns(), fanout)
