"""Hops: the two ends of every call and message, paired, and attempts gathered into calls.

- CLIENT and SERVER pair by parent; PRODUCER and CONSUMER by parent, or by the consumer's span
  link (the conventions allow both). A client span without its other end is a hop all the same, to
  whatever its attributes name; a server span below anything but a client span is a hop whose
  caller was not recorded.
- Kinds are trusted over names. Where no kind is stated, a child in another service is the server
  end, and its parent, if that is its only such child, the client end. A span without kind or of
  the default one, below which nothing was recorded, is a client where its attributes name both a
  protocol and a peer.
- What is only a step at one end of a hop (``Flag.STEP``) has no role.
- The caller's operation is that of the nearest SERVER or CONSUMER above, or of the root.
- One logical call has one first attempt (0). Attempt k (a retry, a hedge) belongs to the newest
  attempt k - 1 of the same context, edge and key that had failed, or else to one under way.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple

import numpy as np

from analysis.arrays import I32, I64, NONE, U8, Bool
from analysis.arrays.grouping import counted, distinct
from analysis.spans.table import Flag, Kind, SpanTable

UNKNOWN: Final = "unknown"
"""The callee of a client span that says nothing of the other side."""


class Edge(NamedTuple):
    """An edge as a calling operation uses it, over whatever protocol."""

    caller: str
    caller_operation: str
    target: str


class Place(NamedTuple):
    """An edge as a calling operation uses it."""

    caller: str
    caller_operation: str
    callee: str
    operation: str
    protocol: str | None

    @property
    def target(self) -> str:
        return f"{self.callee}.{self.operation}"

    @property
    def edge(self) -> Edge:
        return Edge(self.caller, self.caller_operation, self.target)


@dataclass(frozen=True)
class Hops:
    """One row an attempt. Rows of the span table in ``client``, ``server``, ``context``."""

    spans: SpanTable
    role: U8
    """Of every span of the table: its kind, or what it stands for where none is stated."""
    client: I32
    """The CLIENT or PRODUCER span; -1 where it was not recorded."""
    server: I32
    """The SERVER span or first CONSUMER; -1 where there is none."""
    context: I32
    """The span on whose behalf the call was made."""
    place: I32
    """Into ``places``."""
    places: tuple[Place, ...]
    attempt: I32
    call: I32
    """The logical call, numbered from 0."""
    error: Bool
    messages: Bool
    """Whether it is a message: nobody waits for the answer."""
    deliveries: tuple[I32, I32]
    """Every (PRODUCER, CONSUMER) pair of rows; a message may have several consumers."""

    def __len__(self) -> int:
        return len(self.client)

    @cached_property
    def caller(self) -> I32:
        """By place, a number of the calling operation. Where spans are missing, one context may
        hold the calls of several."""
        numbers: dict[tuple[str, str], int] = {}
        return np.array(
            [numbers.setdefault((p.caller, p.caller_operation), len(numbers)) for p in self.places],
            np.int32,
        )

    @cached_property
    def caller_end(self) -> I32:
        """The client span, or the server span where that is all there is."""
        return np.where(self.client >= 0, self.client, self.server)

    @cached_property
    def queue(self) -> I64:
        """What each hop waited at the callee until a worker took it, ns; -1 where the server span
        does not say."""
        return np.where(self.server >= 0, self.spans.queue[self.server], NONE)

    @cached_property
    def handling(self) -> I64:
        """The callee's time without that wait, ns; -1 where the server end is missing, or no worker
        came to handling it."""
        return np.where(self.server >= 0, self.spans.handling[self.server], NONE)

    @cached_property
    def tax(self) -> I64:
        """Client duration minus server duration (queue and handling), ns; -1 where either is
        missing.

        Immune to clock skew. A server span that outlasts its client's makes 0: the answer had
        left before the span ended.
        """
        both = (self.client >= 0) & (self.server >= 0) & ~self.messages
        duration = self.spans.duration
        tax = np.maximum(duration[self.client] - duration[self.server], 0)
        return np.where(both, tax, NONE)


@dataclass(frozen=True)
class Calls:
    """One row a logical call, in the order of their first attempts."""

    hops: Hops
    first: I32
    """The hop of the first attempt."""
    context: I32
    place: I32
    start: I64
    end: I64
    """When the answer was there: the end of the earliest attempt that succeeded, or of the last."""
    failed: Bool
    """No attempt succeeded."""
    attempts: I32
    hedges: I32
    """Those attempts that began while the one before was under way."""
    key: I32
    answered: I32
    """The hop of the attempt that ``end`` is of."""

    def __len__(self) -> int:
        return len(self.first)

    @property
    def duration(self) -> I64:
        return self.end - self.start


def pair(spans: SpanTable) -> tuple[Hops, Calls]:
    """Every hop of the table, and its logical calls."""
    role = _roles(spans)
    client, server, deliveries = _ends(spans, role)
    hops = _described(spans, role, client, server, deliveries)
    return hops, _calls(hops)


def _roles(spans: SpanTable) -> U8:
    role = np.where(spans.has(Flag.STEP), np.uint8(Kind.INTERNAL), spans.kind)
    parent = spans.parent
    # INTERNAL is what an SDK writes where nobody chose a kind.
    leaf = spans.kind <= Kind.INTERNAL
    leaf[parent[parent >= 0]] = False
    role[leaf & (parent >= 0) & (spans.protocol >= 0) & (spans.peer >= 0)] = Kind.CLIENT
    silent = role == Kind.UNSPECIFIED
    if not silent.any():
        return role
    child = np.flatnonzero(silent & (parent >= 0))
    above = parent[child]
    crossing = child[spans.service[above] != spans.service[child]]
    role[crossing] = Kind.SERVER
    role[silent & (parent < 0)] = Kind.SERVER
    callers, crossings = np.unique(parent[crossing], return_counts=True)
    single = callers[crossings == 1]
    role[single[role[single] == Kind.UNSPECIFIED]] = Kind.CLIENT
    return role


def _ends(spans: SpanTable, role: U8) -> tuple[I32, I32, tuple[I32, I32]]:
    """Client and server rows of every hop, and every delivery of a message."""
    parent = spans.parent
    rows = np.arange(len(spans), dtype=np.int32)
    serving = rows[((role == Kind.SERVER) | (role == Kind.CONSUMER)) & (parent >= 0)]
    above = parent[serving]
    producing = role[serving] == Kind.CONSUMER
    fits = np.where(producing, role[above] == Kind.PRODUCER, role[above] == Kind.CLIENT)
    # An older instrumentation may call a request over a queue CLIENT at one end only.
    fits |= producing & (role[above] == Kind.CLIENT)
    paired, sender = serving[fits], above[fits]

    link = spans.links
    by_link = (link.target >= 0) & (role[link.row] == Kind.CONSUMER) if len(link.row) else None
    if by_link is not None and by_link.any():
        reader, writer = link.row[by_link], link.target[by_link]
        new = (role[writer] == Kind.PRODUCER) & (parent[reader] != writer)
        paired = np.concatenate((paired, reader[new]))
        sender = np.concatenate((sender, writer[new]))

    order = np.lexsort((spans.end[paired], spans.start[paired], sender))
    paired, sender = paired[order], sender[order]
    first = np.concatenate(([True], sender[1:] != sender[:-1])) if len(sender) else sender > 0
    server_of = np.full(len(spans), NONE, np.int32)
    server_of[sender[first]] = paired[first]

    client = rows[(role == Kind.CLIENT) | (role == Kind.PRODUCER)]
    is_paired = np.zeros(len(spans), np.bool_)
    is_paired[paired] = True
    alone = serving[~is_paired[serving]]
    # Below its own service's spans a server span is somebody's local root, not a hop.
    alone = alone[(spans.service[parent[alone]] != spans.service[alone])]
    message = role[paired] == Kind.CONSUMER
    return (
        np.concatenate((client, np.full(len(alone), NONE, np.int32))),
        np.concatenate((server_of[client], alone)),
        (sender[message], paired[message]),
    )


def _described(
    spans: SpanTable,
    role: U8,
    client: I32,
    server: I32,
    deliveries: tuple[I32, I32],
) -> Hops:
    near = np.where(client >= 0, client, server)
    context = spans.forest.nearest((role == Kind.SERVER) | (role == Kind.CONSUMER))[near]
    context = np.where(context >= 0, context, spans.root[near])

    def either(column: I32, first: I32, second: I32) -> I32:
        """A column's value at ``first``, or where there is none at ``second``."""
        if len(column) == 0:
            return first
        one = np.where(first >= 0, column[first], NONE)
        two = np.where(second >= 0, column[second], NONE)
        return np.where(one >= 0, one, two).astype(np.int32)

    above = np.where(near >= 0, spans.parent[near], NONE) if len(near) else near
    caller = np.where(client >= 0, spans.service[near], either(spans.service, above, context))
    callee = np.where(
        server >= 0, either(spans.service, server, server), either(spans.peer, client, client)
    )
    columns = (
        caller,
        spans.operation[context],
        callee,
        either(spans.operation, server, client),
        either(spans.protocol, client, server),
    )
    groups = distinct(*columns)
    named = zip(*(column[groups.first].tolist() for column in columns), strict=True)
    places = tuple(
        Place(
            caller=spans.name(codes[0]) or "",
            caller_operation=spans.name(codes[1]) or "",
            callee=spans.name(codes[2]) or UNKNOWN,
            operation=spans.name(codes[3]) or "",
            protocol=spans.name(codes[4]),
        )
        for codes in named
    )
    place = groups.of.astype(np.int32)
    failed = spans.has(Flag.ERROR)
    attempt = spans.messages.attempt
    return Hops(
        spans=spans,
        role=role,
        client=client,
        server=server,
        context=context.astype(np.int32),
        place=place,
        places=places,
        attempt=attempt[near],
        call=_numbered(spans, near, distinct(context, place, spans.messages.key[near]).of),
        error=failed[near],
        messages=(role[near] == Kind.PRODUCER) | (role[near] == Kind.CONSUMER),
        deliveries=deliveries,
    )


def _numbered(spans: SpanTable, near: I32, group: I64) -> I32:
    """The number of each hop's logical call; ``group`` is where its attempts can be."""
    number = np.arange(len(near), dtype=np.int32)
    attempt = spans.messages.attempt[near]
    again = attempt > 0
    if again.any():
        # Few hops are attempts of one call, so these may be looked at one by one, in time order.
        concerned = np.zeros(int(group.max()) + 1, np.bool_)
        concerned[group[again]] = True
        members = np.flatnonzero(concerned[group])
        start, end = spans.start[near][members], spans.end[near][members]
        members = members[np.lexsort((end, attempt[members], start))]
        tries = zip(
            members.tolist(),
            group[members].tolist(),
            attempt[members].tolist(),
            spans.start[near[members]].tolist(),
            spans.end[near[members]].tolist(),
            spans.has(Flag.ERROR)[near[members]].tolist(),
            strict=True,
        )
        open_tries: dict[tuple[int, int], list[_Try]] = {}
        newest: dict[tuple[int, int], int] = {}
        for hop, where, step, begin, end, failed in tries:
            this = _Try(hop, end, failed)
            if step:
                found = _predecessor(open_tries.get((where, step - 1), []), this, begin)
                # A failure that its span does not tell of: the last one it can have been.
                found = newest.get((where, step - 1), hop) if found is None else found
                number[hop] = number[found]
            open_tries.setdefault((where, step), []).append(this)
            newest[where, step] = hop
    return distinct(number).of.astype(np.int32)


class _Try(NamedTuple):
    hop: int
    end: int
    failed: bool


def _predecessor(tries: list[_Try], this: _Try, begin: int) -> int | None:
    """Take out of ``tries`` (by start) the one that ``this``, starting at ``begin``, follows.

    That is the newest that had failed (a retry). Or else one that was under way (a hedge): of two
    attempts that race, one wins, and the other is cancelled at that moment, so it is the one of
    the other outcome that ended closest. What had succeeded is nobody's predecessor, and leaves
    for good, so that all searches together are linear but for what is in flight at once.
    """
    under_way: list[_Try] = []
    found: _Try | None = None
    while tries and found is None:
        last = tries.pop()
        if last.end > begin or (last.end == begin and not last.failed):
            under_way.append(last)
        elif last.failed:
            found = last
    if found is None and under_way:
        found = min(under_way, key=lambda t: (t.failed == this.failed, abs(t.end - this.end)))
        under_way.remove(found)
    tries.extend(reversed(under_way))
    return None if found is None else found.hop


def _calls(hops: Hops) -> Calls:
    spans = hops.spans
    count = int(hops.call.max()) + 1 if len(hops) else 0
    near = hops.caller_end
    start, end = spans.start[near], spans.end[near]
    order = np.lexsort((start, hops.attempt, hops.call))
    bounds = np.searchsorted(hops.call[order], np.arange(count))
    first = order[bounds].astype(np.int32)
    attempts = counted(hops.call, count).astype(np.int32)
    beside = hops.call[order][1:] == hops.call[order][:-1]
    beside &= start[order][1:] < end[order][:-1]
    hedges = counted(hops.call[order][1:][beside], count).astype(np.int32)
    # The answer is the earliest success, or without one the last failure to end.
    worth = np.where(hops.error, np.iinfo(np.int64).max - end, end)
    order = np.lexsort((worth, hops.error, hops.call))
    answered = order[np.searchsorted(hops.call[order], np.arange(count))].astype(np.int32)
    return Calls(
        hops=hops,
        first=first,
        context=hops.context[first],
        place=hops.place[first],
        start=start[first],
        end=end[answered],
        failed=hops.error[answered],
        attempts=attempts,
        hedges=hedges,
        key=spans.messages.key[near[first]],
        answered=answered,
    )


def complete_traces(spans: SpanTable, hops: Hops, *, both_ends: bool) -> Bool:
    """Which traces are whole: one mark for each trace code.

    A trace is complete when every parent resolves, and, with ``both_ends``, when every CLIENT span
    without error has its SERVER and every PRODUCER without error at least one CONSUMER
    (docs/analysis.md, "Complete traces"). Anybody else's traces end at databases and services
    without instrumentation, so there only parents count.
    """
    whole = np.ones(spans.traces, np.bool_)
    whole[spans.trace[spans.has(Flag.ORPHAN)]] = False
    if both_ends:
        alone = (hops.server < 0) & (hops.client >= 0) & ~hops.error
        whole[spans.trace[hops.client[alone]]] = False
    return whole
