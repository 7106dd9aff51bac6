"""What a reader hands over: spans as they were written down, column by column, nothing judged.

Every reader fills one :class:`Recorder`; :mod:`analysis.normalise` makes a span table of what it
recorded. Ids are opaque text. They are joined by their canonical form (hex in lower case) and kept
as first spelled.
"""

from __future__ import annotations

import base64
import binascii
import string
from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

NONE: Final = -1
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


class Codes(dict[str, int]):
    """Text → code, in order of appearance."""

    def __missing__(self, text: str) -> int:
        code = self[text] = len(self)
        return code


class Ids:
    """Ids → code by canonical form; ``spelled`` keeps the first spelling of each."""

    __slots__ = ("_codes", "spelled")

    def __init__(self) -> None:
        self._codes: dict[str | bytes, int] = {}
        self.spelled: list[str] = []

    def binary(self, raw: bytes) -> int:
        """Of an id as protobuf has it; spelled in hex."""
        code = self._codes.get(raw)
        return self.text(raw.hex()) if code is None else code

    def text(self, spelled: str) -> int:
        code = self._codes.get(spelled)
        if code is None:
            canonical = _raw(spelled)
            code = self._codes.get(canonical)
            if code is None:
                code = self._codes[canonical] = len(self.spelled)
                self.spelled.append(spelled)
            self._codes[spelled] = code
        return code


def _raw(spelled: str) -> str | bytes:
    """Bytes of an id whose encoding its length tells (ANALYSIS.md section 2), else its text."""
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
    ``spans``, text codes of ``names``, attribute values codes of ``values``.

    A *resource* is what spans of one process share: its attributes are given once.
    """

    names: Codes = field(default_factory=Codes)
    values: Codes = field(default_factory=Codes)
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
    attribute_row: array[int] = field(default_factory=lambda: array("i"))
    attribute_key: array[int] = field(default_factory=lambda: array("i"))
    attribute_value: array[int] = field(default_factory=lambda: array("i"))
    links: list[Link] = field(default_factory=list)
    resources: list[Mapping[str, str]] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    files: int = 0

    def __len__(self) -> int:
        return len(self.trace)

    def add_resource(self, attributes: Mapping[str, str]) -> int:
        self.resources.append(attributes)
        return len(self.resources) - 1

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
        attributes: Iterable[tuple[str, str]] = (),
        links: Iterable[tuple[int, int]] = (),
        follows: bool = False,
        shared: bool = False,
    ) -> None:
        """Raises Malformed, with nothing recorded, for times that no span can have."""
        if not 0 <= start <= _LATEST or not 0 <= end <= _LATEST:
            raise Malformed("a time outside 1970 to 2262")
        if end < start:
            raise Malformed("ends before it starts")
        if not 0 <= kind <= 5:
            kind = 0
        row = len(self.trace)
        self.trace.append(trace)
        self.span.append(span)
        self.parent.append(parent)
        self.name.append(self.names[name])
        self.kind.append(kind)
        self.status.append(status if 0 <= status <= 2 else 0)
        self.start.append(start)
        self.end.append(end)
        self.resource.append(resource)
        self.follows.append(follows)
        self.shared.append(shared)
        for key, value in attributes:
            self.attribute_row.append(row)
            self.attribute_key.append(self.names[key])
            self.attribute_value.append(self.values[value])
        for link_trace, link_span in links:
            self.links.append(Link(row, link_trace, link_span))


_LATEST: Final = 2**63 - 1


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


def items(values: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        yield key, text_of(value)
