"""Steps: spans at one end of a hop that another span stands for.

Libraries for messaging write spans of their own steps, with the kinds of a hop. These are marked as
steps, the first and the last where nothing hangs below them:

- One that only received (``messaging.operation.type``; a CONSUMER, by newer conventions a CLIENT)
  where another of its service has the same parent and so handled the message: a SERVER or CONSUMER
  with the same destination, or a CONSUMER that names none. Without a parent it is hung below that.
- A CLIENT that received, with a CONSUMER of its service right below it: that is no server of it.
- A PRODUCER right below a CLIENT or PRODUCER of its service with the same destination, unless that
  one received, something is linked to it, or there are several: each is a message then.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from analysis.arrays import I32, NONE, U16
from analysis.arrays.grouping import distinct
from analysis.reading.names import Columns, Names, Said
from analysis.spans.table import Flag, Kind, Links, mark


def mark_steps(  # noqa: PLR0917  # what is known of every span, column by column
    columns: Columns, names: Names, said: Said, parent: I32, flags: U16, links: Links
) -> None:
    """Mark in ``flags`` what is no hop of its own, and give a received message a place in
    ``parent``; both in place."""
    kind, service = columns.kind, said.service
    alone = np.ones(len(parent), np.bool_)
    alone[parent[parent >= 0]] = False

    takes = names.receives & ((kind == Kind.CONSUMER) | (kind == Kind.CLIENT))
    received = np.flatnonzero(alone & takes)
    of = _handlers(columns, names, said, received)
    received, of = received[of >= 0], of[of >= 0]
    mark(flags, received, Flag.STEP)
    rootless = parent[received] < 0
    parent[received[rootless]] = of[rootless]
    # It is where its handler is; that one is an orphan as before.
    flags[received[rootless]] &= ~np.uint16(Flag.ORPHAN)
    # Nobody waits for a message to be taken, but who takes it.
    apart = rootless | (service[parent[received]] != service[received])
    mark(flags, received[apart], Flag.ASYNC)

    handling = np.flatnonzero((kind == Kind.CONSUMER) & ~names.receives & (parent >= 0))
    poll = parent[handling]
    polled = takes[poll] & (kind[poll] == Kind.CLIENT) & (service[poll] == service[handling])
    mark(flags, poll[polled], Flag.STEP)

    sent = np.flatnonzero((kind == Kind.PRODUCER) & (parent >= 0))
    above = parent[sent]
    inner = (
        (((kind[above] == Kind.CLIENT) & ~names.receives[above]) | (kind[above] == Kind.PRODUCER))
        & (service[above] == service[sent])
        & (names.destination[above] == names.destination[sent])
        & (names.destination[sent] >= 0)
    )
    sent, above = sent[inner], above[inner]
    alone[links.target[links.target >= 0]] = False
    single = np.bincount(above, minlength=len(parent))[above] == 1
    mark(flags, sent[alone[sent] & single], Flag.STEP)


def _handlers(columns: Columns, names: Names, said: Said, received: NDArray[np.intp]) -> I32:
    """For each of ``received`` the row that handled the message; -1 where none did."""
    consumer = columns.kind == Kind.CONSUMER
    ends = ~names.receives & (columns.parent >= 0) & (consumer | (columns.kind == Kind.SERVER))
    stated = np.flatnonzero(ends & (names.destination >= 0))
    silent = np.flatnonzero(ends & consumer & (names.destination < 0))
    place = (columns.trace, columns.parent, said.service)
    found = np.full(len(received), NONE, np.int32)
    if len(received) == 0:
        return found
    # Its own replica's before another's, to which the message may have gone as well.
    for keys, among in (
        ((*place, names.destination, said.instance), stated),
        ((*place, names.destination), stated),
        (place, silent),
    ):
        found = np.where(found >= 0, found, _equal(keys, among, received))
    return found


def _equal(keys: tuple[I32, ...], among: NDArray[np.intp], rows: NDArray[np.intp]) -> I32:
    """For each of ``rows`` one of ``among`` that has the same ``keys``; -1 for none."""
    both = np.concatenate((among, rows))
    same = distinct(*(key[both] for key in keys))
    found = np.full(same.count, NONE, np.int32)
    found[same.of[: len(among)]] = among
    return found[same.of[len(among) :]]
