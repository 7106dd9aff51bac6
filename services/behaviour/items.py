"""Items to calls: numbers, origins and batches, as pure arithmetic.

The number of an item is its place among all items of the step that first named it: item i of
``count`` in iteration r of the enclosing repeats has the number ``r * count + i``. Refactors that
join steps keep each part's origin, so an item's key, and all that chance hangs on it, stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from services.scenario.model import Origin
from services.wire import ticket
from services.wire.ticket import Item


class Carried(NamedTuple):
    """What one call carries: its items, and the part of the ticket that follows the key."""

    items: tuple[Item, ...]
    suffix: str


def items_of(origins: Sequence[Origin], shift: int) -> list[Item]:
    """The items of an edge in iteration ``shift`` of the enclosing repeats, in order."""
    return [
        Item(origin.step, shift * origin.count + i)
        for origin in origins
        for i in range(origin.count)
    ]


def batches(items: Sequence[Item], size: int) -> Iterator[tuple[Item, ...]]:
    """Runs of ``size`` items, the last one shorter: ceil(len / size) calls."""
    rest = iter(items)
    while batch := tuple(islice(rest, size)):
        yield batch


def carried(items: Sequence[Item], size: int) -> list[Carried]:
    return [
        Carried(batch, ticket.encode(0, batch).partition(";")[2]) for batch in batches(items, size)
    ]
