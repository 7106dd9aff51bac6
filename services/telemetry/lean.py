"""The lean instrumentation: one tuple appended when an end of a hop is done, and nothing else.

What a request pays for, by design:

- sampled: a random span id, a context variable set and reset, one record of 16 fields;
- not sampled: no id (the caller's context is handed on as it came, as the API's own non-recording
  span does), no context for an attempt, the same record for the metrics.

Attributes, names, encoding, metrics and export happen elsewhere and later (encode.py, metrics.py,
export.py). Scopes and attempts *are* the slim spans of the OpenTelemetry API (tracer.py), so that
``trace.get_current_span()`` inside a handler costs nothing until somebody asks.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from contextvars import Token
from typing import Final

from opentelemetry.context import Context, attach, detach
from opentelemetry.trace import INVALID_SPAN, set_span_in_context

from services.scenario.model import PROTOCOLS, Target
from services.telemetry.port import Attempt, Fanout, Scope
from services.telemetry.records import CLIENT, CONSUMER, INTERNAL, PRODUCER, SERVER, Record
from services.telemetry.tracer import Notes, OpenSpan, SlimSpan
from services.wire import ticket
from services.wire.ports import Clock, Incoming, Outgoing, Reply, TraceContext, Wire
from services.wire.topology import Topology

IdSource = Callable[[int], int]
"""Random bits, as ``random.Random.getrandbits``."""

_PROTOCOL_INDEX: Final = {protocol: i for i, protocol in enumerate(PROTOCOLS)}

# The API keeps the key of the current span to itself; its own setter tells it.
(_SPAN_KEY,) = set_span_in_context(INVALID_SPAN, Context())

# Calling the NamedTuple's class costs twice as much as the tuple it makes.
_new_tuple: Final = tuple.__new__


class LeanScope(SlimSpan, Scope):
    __slots__ = ("notes", "site", "token")

    def __init__(self, trace: TraceContext, incoming: Incoming, site: int) -> None:
        self.trace = trace
        self.incoming = incoming
        self.start_ns = incoming.received_ns
        self.calls = 0
        self.site = site
        self.notes: Notes | None = None
        self.token: Token[Context] | None = None


class LeanFanout(SlimSpan, Fanout):
    __slots__ = ("notes",)

    token: Token[Context] | None

    def __init__(self, parent: TraceContext, trace: TraceContext, start_ns: int) -> None:
        super().__init__(parent, trace, start_ns)
        self.token = None
        self.notes: Notes | None = None


class LeanAttempt(SlimSpan, Attempt):
    __slots__ = ("notes",)

    trace: TraceContext
    token: Token[Context] | None

    def __init__(
        self,
        wire: Wire,
        parent: TraceContext,
        trace: TraceContext,
        start_ns: int,
        fanout: bool,
    ) -> None:
        self.wire = wire
        self.parent = parent
        self.trace = trace
        self.start_ns = start_ns
        self.fanout = fanout
        self.token = None
        self.notes: Notes | None = None


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
    the same. ``notes`` holds what user code said about spans of ours, by span id; ``spans`` holds
    the ended spans that user code opened itself (tracer.py). ``ids`` makes runs repeatable where
    given; otherwise a generator seeded from the operating system, one for each instance, so that
    forked processes never share a sequence.
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
        self.notes: dict[int, Notes] = {}
        self.spans: list[OpenSpan] = []
        self.now_ns = clock.now_ns
        self.ids: IdSource = ids or random.Random(os.urandom(32)).getrandbits
        self._append = self.records.append
        self._sites = Sites(topology, service)
        self._items: dict[str, int] = {}

    def server_begin(self, incoming: Incoming) -> LeanScope:
        came = incoming.trace
        if came is None:
            trace = TraceContext(self.ids(128) or 1, self.ids(64) or 1, True)
        elif came.sampled:
            trace = _new_tuple(TraceContext, (came.trace_id, self.ids(64) or 1, True))
        else:
            trace = came
        scope = LeanScope(trace, incoming, self._sites[incoming.operation])
        scope.token = attach(Context({_SPAN_KEY: scope}))
        return scope

    def server_end(self, scope: Scope, reply: Reply) -> None:
        assert isinstance(scope, LeanScope)
        if scope.token is not None:
            detach(scope.token)
        incoming = scope.incoming
        came = incoming.trace
        trace_id, span_id, sampled = scope.trace
        self._append(
            (
                CONSUMER if incoming.mode == "publish" else SERVER,
                scope.site,
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
                _PROTOCOL_INDEX[incoming.protocol],
                incoming.key,
            )
        )
        if scope.notes is not None and sampled:
            self.notes[span_id] = scope.notes

    def fanout_begin(self, scope: Scope, parent: TraceContext) -> LeanFanout:
        if not parent.sampled:
            return LeanFanout(parent, parent, 0)
        trace = _new_tuple(TraceContext, (parent.trace_id, self.ids(64) or 1, True))
        fanout = LeanFanout(parent, trace, self.now_ns())
        fanout.token = attach(Context({_SPAN_KEY: fanout}))
        return fanout

    def fanout_end(self, scope: Scope, fanout: Fanout) -> None:
        assert isinstance(scope, LeanScope)
        assert isinstance(fanout, LeanFanout)
        if fanout.token is None:
            return
        detach(fanout.token)
        trace_id, span_id, sampled = fanout.trace
        self._append(
            (
                INTERNAL,
                scope.site,
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
            )
        )
        if fanout.notes is not None:
            self.notes[span_id] = fanout.notes

    def attempt_begin(self, wire: Wire, parent: TraceContext, *, fanout: bool) -> Attempt:
        if not parent.sampled:
            return LeanAttempt(wire, parent, parent, self.now_ns(), fanout)
        trace = _new_tuple(TraceContext, (parent.trace_id, self.ids(64) or 1, True))
        attempt = LeanAttempt(wire, parent, trace, self.now_ns(), fanout)
        attempt.token = attach(Context({_SPAN_KEY: attempt}))
        return attempt

    def attempt_end(self, attempt: Attempt, out: Outgoing, items: int, reply: Reply) -> None:
        assert isinstance(attempt, LeanAttempt)
        end = self.now_ns()
        if attempt.token is not None:
            detach(attempt.token)
        trace_id, span_id, sampled = attempt.trace
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
            )
        )
        if attempt.notes is not None and sampled:
            self.notes[span_id] = attempt.notes

    def _items_of(self, text: str) -> int:
        """How many items a ticket carries. All but its leading key repeats, hence the table."""
        groups = text[17:]
        count = self._items.get(groups)
        if count is None:
            if len(self._items) >= _ITEMS_TABLE:
                self._items.clear()
            count = self._items[groups] = ticket.count(groups)
        return count


_ITEMS_TABLE: Final = 4096


_UNTRACED: Final = TraceContext(0, 0, False)


class NullTelemetry(LeanTelemetry):
    """``--tracing off``: records for the metrics, no spans, no context, no ``traceparent``."""

    def server_begin(self, incoming: Incoming) -> LeanScope:
        return LeanScope(_UNTRACED, incoming, self._sites[incoming.operation])

    def fanout_begin(self, scope: Scope, parent: TraceContext) -> LeanFanout:
        return LeanFanout(parent, _UNTRACED, 0)

    def attempt_begin(self, wire: Wire, parent: TraceContext, *, fanout: bool) -> Attempt:
        return Attempt(wire, parent, None, self.now_ns(), fanout)

    def attempt_end(self, attempt: Attempt, out: Outgoing, items: int, reply: Reply) -> None:
        wire = attempt.wire
        self._append(
            (
                PRODUCER if wire.mode == "publish" else CLIENT,
                wire.index,
                0,
                0,
                0,
                False,
                attempt.start_ns,
                self.now_ns(),
                +reply.status,
                out.request_bytes,
                reply.response_bytes,
                out.attempt,
                items,
                1 if attempt.fanout else 0,
                out.replica,
                out.key,
            )
        )
