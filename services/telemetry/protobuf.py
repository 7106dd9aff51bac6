"""Protobuf's wire format, as much as OTLP needs.

A message is the concatenation of its fields in any order, so what never changes about a span can
be serialised once and pasted; that is what makes an encoder of our own ten times cheaper than
building message objects. Tests hold every field against the published descriptors.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Final

Value = str | bool | int | float | bytes | Sequence["Value"] | Mapping[str, "Value"] | None
"""What an attribute may hold; the API's ``AnyValue``."""
Attributes = Mapping[str, Value]

_SMALL: Final = tuple(bytes((n,)) for n in range(128))
_MASK_64: Final = (1 << 64) - 1
FIXED64: Final = struct.Struct("<Q").pack
DOUBLE: Final = struct.Struct("<d").pack
FIXED32: Final = struct.Struct("<I").pack


def varint(n: int) -> bytes:
    """``n`` modulo 2**64, so that a negative int64 takes its ten bytes."""
    if 0 <= n < 128:
        return _SMALL[n]
    n &= _MASK_64
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)


def tag(number: int, wire_type: int) -> bytes:
    return varint(number << 3 | wire_type)


def delimited(number: int, body: bytes) -> bytes:
    """A field of bytes, text or a message."""
    return tag(number, 2) + varint(len(body)) + body


def text(number: int, value: str) -> bytes:
    return delimited(number, value.encode())


def integer(number: int, value: int) -> bytes:
    """An int32, int64, uint64, bool or enum field."""
    return tag(number, 0) + varint(value)


def fixed64(number: int, value: int) -> bytes:
    return tag(number, 1) + FIXED64(value & _MASK_64)


def fixed32(number: int, value: int) -> bytes:
    return tag(number, 5) + FIXED32(value)


def double(number: int, value: float) -> bytes:
    return tag(number, 1) + DOUBLE(value)


def any_value(value: Value) -> bytes:
    """The body of an ``AnyValue``. bool before int, which it is one of."""
    match value:
        case bool():
            return integer(2, value)
        case str():
            return text(1, value)
        case int():
            return integer(3, value)
        case float():
            return double(4, value)
        case bytes():
            return delimited(7, value)
        case None:
            return b""
        case Mapping():
            return delimited(6, attributes(1, value))
        case _:
            return delimited(5, b"".join(delimited(1, any_value(item)) for item in value))


def attribute(number: int, key: str, value: Value) -> bytes:
    """One ``KeyValue`` as field ``number`` of the message that has attributes."""
    return delimited(number, text(1, key) + delimited(2, any_value(value)))


def attributes(number: int, of: Attributes) -> bytes:
    return b"".join(attribute(number, key, value) for key, value in of.items())


def resource(of: Attributes) -> bytes:
    """The ``resource`` field of ResourceSpans and ResourceMetrics."""
    return delimited(1, attributes(1, of))


def scope(name: str) -> bytes:
    """The ``scope`` field of ScopeSpans and ScopeMetrics."""
    return delimited(1, text(1, name))


def export_request(resource_field: bytes, scope_field: bytes, items: Sequence[bytes]) -> bytes:
    """An export request of one resource and scope; each of the ``items`` is a whole field 2.

    Traces and metrics share these field numbers: resource_* 1, scope_* 2, spans and metrics 2.
    """
    body = len(scope_field) + sum(map(len, items))
    head = b"\x12" + varint(body) + scope_field
    size = varint(len(resource_field) + len(head) - len(scope_field) + body)
    return b"".join((b"\x0a", size, resource_field, head, *items))
