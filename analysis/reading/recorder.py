"""What a reader hands over: spans as they were written down, column by column, nothing judged.

Every reader fills one :class:`Recorder`; :mod:`analysis.reading.normalisation` makes a span table
of what it recorded. Ids are opaque text. They are joined by their canonical form (hex in lower
case) and kept as first spelled.
"""

from __future__ import annotations

import base64
import binascii
import string
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from analysis.arrays.codes import Codes

_HEX: Final = frozenset(string.hexdigits)
_LOWER_HEX: Final = frozenset("0123456789abcdef")


@dataclass(frozen=True, slots=True)
class Skipped:
    """A span that could not be read. ``offset`` is where in the file: a byte or an item."""

    file: str
    offset: int | None
    reason: str


class Malformed(Exception):
    """One span cannot be read; the message says why. Readers skip it and go on."""


class Unreadable(Exception):
    """A whole file cannot be read from ``offset`` on."""

    def __init__(self, reason: str, offset: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.offset = offset


class Ids(dict[str | bytes, int]):
    """Id → code, by bytes as protobuf has them or by text.

    ``spelled`` keeps the first spelling of each id; bytes are spelled in hex.
    """

    def __init__(self) -> None:
        super().__init__()
        self.spelled: list[str] = []

    def __missing__(self, given: str | bytes) -> int:
        if isinstance(given, bytes):
            code = self[given] = len(self.spelled)
            self.spelled.append(given.hex())
            return code
        canonical = raw(given)
        found = self.get(canonical)
        if found is None:
            found = self[canonical] = len(self.spelled)
            self.spelled.append(given)
        self[given] = found
        return found


def raw(spelled: str) -> str | bytes:
    """Bytes of an id whose length tells its encoding, else its text (docs/analysis.md,
    "Reading")."""
    n = len(spelled)
    if n in (16, 32) and _HEX.issuperset(spelled):
        return bytes.fromhex(spelled)
    if (n == 24 and spelled.endswith("==")) or (n == 12 and spelled.endswith("=")):
        try:
            return base64.b64decode(spelled, validate=True)
        except binascii.Error:
            return spelled
    return spelled


def padded(spelled: str, digits: tuple[int, ...] = (16, 32)) -> str:
    """An unpadded hex id (older Jaeger) as wide as it was meant; any other text as it is."""
    if not spelled or not _LOWER_HEX.issuperset(spelled):
        return spelled
    return spelled.zfill(next((d for d in digits if len(spelled) <= d), len(spelled)))


class Link(NamedTuple):
    row: int
    trace: int
    span: int


@dataclass(slots=True)
class Recorder:
    """Columns that grow by one span at a time. Times are Unix ns, ids codes of ``traces`` and
    ``ids``, text codes of ``names``.

    An attribute is the code of a pair of key and value, in ``pairs``: few pairs are ever new. A
    *resource* is what spans of one process share: its attributes are given once.
    """

    names: Codes = field(default_factory=Codes)
    pairs: dict[tuple[str, str], int] = field(default_factory=dict)
    traces: Ids = field(default_factory=Ids)
    ids: Ids = field(default_factory=Ids)
    trace: array[int] = field(default_factory=lambda: array("i"))
    span: array[int] = field(default_factory=lambda: array("i"))
    parent: array[int] = field(default_factory=lambda: array("i"))
    """-1 for none."""
    name: array[int] = field(default_factory=lambda: array("i"))
    kind: array[int] = field(default_factory=lambda: array("b"))
    status: array[int] = field(default_factory=lambda: array("b"))
    start: array[int] = field(default_factory=lambda: array("q"))
    end: array[int] = field(default_factory=lambda: array("q"))
    resource: array[int] = field(default_factory=lambda: array("i"))
    follows: array[int] = field(default_factory=lambda: array("b"))
    """The parent reference is FOLLOWS_FROM."""
    shared: array[int] = field(default_factory=lambda: array("b"))
    """Zipkin's: this server span has its client's id."""
    attribute_count: array[int] = field(default_factory=lambda: array("i"))
    attribute_pair: array[int] = field(default_factory=lambda: array("i"))
    links: list[Link] = field(default_factory=list)
    resources: list[Mapping[str, str]] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.trace)

    def add_resource(self, attributes: Mapping[str, str]) -> int:
        self.resources.append(attributes)
        return len(self.resources) - 1

    def pair(self, key: str, value: str) -> int:
        code = self.pairs.get((key, value))
        if code is None:
            code = self.pairs[key, value] = len(self.pairs)
        return code

    def add(
        self,
        *,
        trace: int,
        span: int,
        parent: int,
        name: str,
        kind: int,
        status: int,
        start: int,
        end: int,
        resource: int,
        attributes: Sequence[int] = (),
        links: Iterable[tuple[int, int]] = (),
        follows: bool = False,
        shared: bool = False,
    ) -> None:
        """``attributes`` are codes of pairs.

        Raises Malformed, with nothing recorded, for times that no span can have.
        """
        if not 0 <= start <= _LATEST or not 0 <= end <= _LATEST:
            raise Malformed("a time outside 1970 to 2262")
        if end < start:
            raise Malformed("ends before it starts")
        if end - start > _LONGEST:
            raise Malformed("takes more than a year: one of its times is missing, or no Unix time")
        row = len(self.trace)
        self.trace.append(trace)
        self.span.append(span)
        self.parent.append(parent)
        self.name.append(self.names[name])
        self.kind.append(kind if 0 <= kind <= 5 else 0)
        self.status.append(status if 0 <= status <= 2 else 0)
        self.start.append(start)
        self.end.append(end)
        self.resource.append(resource)
        self.follows.append(follows)
        self.shared.append(shared)
        self.attribute_count.append(len(attributes))
        self.attribute_pair.extend(attributes)
        for link_trace, link_span in links:
            self.links.append(Link(row, link_trace, link_span))


_LATEST: Final = 2**63 - 1
_LONGEST: Final = 366 * 86_400 * 10**9
"""ns. Interval arithmetic adds up the lengths of spans, and int64 holds 292 years of them."""


def listed(value: Any, what: str) -> list[Any]:
    """A list of JSON, empty where there is none; Malformed for anything else."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise Malformed(f"{what} that are no list")
    return value


def mapped(value: Any, what: str) -> dict[str, Any]:
    """An object of JSON, empty where there is none; Malformed for anything else."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Malformed(f"{what} that is no object")
    return value


def text_of(value: object) -> str:
    """An attribute's value as text: what JSON would say, true and false in lower case."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case bytes():
            return value.hex()
        case _:
            return str(value)
