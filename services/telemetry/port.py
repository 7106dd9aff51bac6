"""What an instrumentation must do: open and close hops, and see every one of them.

Behaviour calls these three pairs; ``lean`` and ``official`` differ only in who makes the spans.
Scopes are passed explicitly (``parent``); ``official`` also makes them current for the libraries
that look there.
"""

from __future__ import annotations

from typing import Protocol

from services.wire.ports import Incoming, Outgoing, Reply, TraceContext, Wire


class Scope:
    """One request being handled in this process: the parent of what it does.

    ``trace`` is the context that outgoing calls are children of. ``calls`` counts direct outgoing
    calls; ``queue_ns`` is the time from arrival until a worker took the request. Instrumentations
    may subclass it.
    """

    __slots__ = ("calls", "incoming", "queue_ns", "start_ns", "trace")

    def __init__(self, trace: TraceContext, incoming: Incoming, start_ns: int) -> None:
        self.trace = trace
        self.incoming = incoming
        self.start_ns = start_ns
        self.calls = 0
        self.queue_ns = incoming.held_ns


class Fanout:
    """One parallel fan-out under way; ``trace`` is the parent of its calls."""

    __slots__ = ("calls", "failures", "parent", "start_ns", "trace")

    def __init__(self, parent: TraceContext, trace: TraceContext, start_ns: int) -> None:
        self.parent = parent
        self.trace = trace
        self.start_ns = start_ns
        self.calls = 0
        self.failures = 0


class Attempt:
    """One attempt of one call under way."""

    __slots__ = ("fanout", "parent", "start_ns", "trace", "wire")

    def __init__(
        self,
        wire: Wire,
        parent: TraceContext,
        trace: TraceContext | None,
        start_ns: int,
        fanout: bool,
    ) -> None:
        self.wire = wire
        self.parent = parent
        self.trace = trace
        """Goes to :attr:`Outgoing.trace`; None when the instrumentation injects by itself."""
        self.start_ns = start_ns
        self.fanout = fanout


class Telemetry(Protocol):
    """One per service process (or, in virtual time, one per service replica)."""

    def server_begin(self, incoming: Incoming) -> Scope: ...

    def server_end(self, scope: Scope, reply: Reply) -> None: ...

    def fanout_begin(self, scope: Scope, parent: TraceContext) -> Fanout:
        """``parent`` is scope.trace, or the trace of an enclosing fan-out."""
        ...

    def fanout_end(self, scope: Scope, fanout: Fanout) -> None: ...

    def attempt_begin(self, wire: Wire, parent: TraceContext, *, fanout: bool) -> Attempt:
        """For calls and publishes alike; the kind follows from ``wire.mode``."""
        ...

    def attempt_end(self, attempt: Attempt, out: Outgoing, items: int, reply: Reply) -> None: ...
