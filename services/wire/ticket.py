"""What rides on every message beside the payload: chance's key, the items carried, and the ask.

One header (HTTP), metadata entry (gRPC) or record header (Kafka) named ``hopbench`` holds

    <ticket>|<response bytes>|<timeout ns or ->|<attempt>|<caller/replica>

and a ticket is ``<key, 16 hex>;<step>@<numbers>[,<step>@<numbers>…]`` with numbers as ranges:
``00000000000004d2;order.create/1@0-4+7``. The key is that of the item on whose behalf the caller
makes the call; each item's own key follows from it, its step and its number (chance.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from services.scenario.chance import item_key, request_key

HEADER = "hopbench"
ENTRY_STEP = "entry"
"""The step id under which a request enters: its only item has number 0."""


class Item(NamedTuple):
    step: str
    number: int


def encode(parent: int, items: Sequence[Item]) -> str:
    """The ticket for ``items`` (not empty, in order), sent on behalf of ``parent``."""
    groups: list[str] = []
    i = 0
    while i < len(items):
        step = items[i].step
        ranges: list[str] = []
        while i < len(items) and items[i].step == step:
            first = last = items[i].number
            i += 1
            while i < len(items) and items[i].step == step and items[i].number == last + 1:
                last += 1
                i += 1
            ranges.append(str(first) if first == last else f"{first}-{last}")
        groups.append(f"{step}@{'+'.join(ranges)}")
    return f"{parent:016x};{','.join(groups)}"


def item_keys(ticket: str) -> list[int]:
    """The key of each item carried, in order.

    Raises ValueError for text that is not a ticket.
    """
    head, _, groups = ticket.partition(";")
    parent = int(head, 16)
    if "," not in groups:
        # One item of one step, as nearly every call carries.
        step, _, number = groups.rpartition("@")
        if number.isdecimal():
            return [item_key(parent, step, int(number))]
    keys: list[int] = []
    for group in groups.split(","):
        step, _, ranges = group.rpartition("@")
        for part in ranges.split("+"):
            first, _, last = part.partition("-")
            numbers: Iterable[int] = range(int(first), int(last or first) + 1)
            keys.extend(item_key(parent, step, number) for number in numbers)
    return keys


def count(ticket: str) -> int:
    """How many items a ticket carries, or the groups of one (what follows its ``;``)."""
    items = 0
    for group in ticket.rpartition(";")[2].split(","):
        for part in group.rpartition("@")[2].split("+"):
            first, _, last = part.partition("-")
            items += int(last or first) - int(first) + 1
    return items


class Header(NamedTuple):
    """The whole of the ``hopbench`` header."""

    ticket: str
    response_bytes: int
    """How many bytes the callee is asked to answer with."""
    timeout_ns: int | None
    """What was left of the caller's deadline when it sent."""
    attempt: int
    peer: str
    """The caller as ``service/replica``, empty where unknown."""


def encode_header(
    ticket: str, response_bytes: int, timeout_ns: int | None, attempt: int, peer: str
) -> str:
    left = "-" if timeout_ns is None else timeout_ns
    return f"{ticket}|{response_bytes}|{left}|{attempt}|{peer}"


def parse_header(text: str | None) -> Header:
    """:data:`BARE` where there is none. Raises ValueError for text that is no such header."""
    if text is None:
        return BARE
    ticket, response_bytes, left, attempt, peer = text.rsplit("|", 4)
    return Header(
        ticket, int(response_bytes), None if left == "-" else int(left), int(attempt), peer
    )


def entry_ticket(round_seed: int, number: int) -> str:
    """The ticket of request ``number`` of a round, as the generator sends it."""
    return f"{request_key(round_seed, number):016x};{ENTRY_STEP}@0"


BARE = Header(entry_ticket(0, 0), 0, None, 0, "")
"""What a caller without the header is taken to have sent: curl and grpcurl work on any service."""
