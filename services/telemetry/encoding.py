"""Hop records to OTLP bytes: what is static is serialised once, and pasted.

The official encoder builds a message object for every span and attribute, 25-40 µs a span. Here a
span is a template (name, kind, flags, attributes, status) found by the record's shape, and around
it ids, times, sizes and the key: about 2 µs.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Final

from services.telemetry import protobuf
from services.telemetry.records import (
    ATTEMPT,
    CALLS,
    CONSUMER,
    ITEMS,
    KEY,
    KIND,
    PEER,
    QUEUE,
    REQUEST_BYTES,
    RESPONSE_BYTES,
    SAMPLED,
    SCOPE,
    SERVER,
    SITE,
    STATUS,
    Record,
)
from services.telemetry.spans import QUEUE_NS, end_of, key_attributes, shape_of, span_shape
from services.wire.topology import Topology

SCOPE_FIELD: Final = protobuf.scope(SCOPE)

_ATTRIBUTES: Final = 9
_HAS_IS_REMOTE: Final = 0x100
_IS_REMOTE: Final = 0x200
_ERROR: Final = protobuf.delimited(15, protobuf.integer(3, 2))

_shape: Final = itemgetter(KIND, SITE, STATUS, ATTEMPT, ITEMS, CALLS, PEER)
_sizes: Final = itemgetter(REQUEST_BYTES, RESPONSE_BYTES)
_ids: Final = struct.Struct(">HQQHQHQ").pack
_root_ids: Final = struct.Struct(">HQQHQ").pack
_times: Final = struct.Struct("<BQBQ").pack
_link: Final = struct.Struct(">HHQQHQ").pack
_TRACE_ID: Final = 0x0A10
_SPAN_ID: Final = 0x1208
_PARENT_ID: Final = 0x2208
_START: Final = 0x39
_END: Final = 0x41
_LINK: Final = 0x6A00 | 18 + 10 + 5
_LINK_FLAGS: Final = protobuf.fixed32(6, _HAS_IS_REMOTE | _IS_REMOTE)
_LOW: Final = (1 << 64) - 1

_TIMES_BYTES: Final = 18

# A length up to here is one lookup; longer ones (a long key) are computed.
_LENGTHS: Final = tuple(b"\x12" + protobuf.varint(n) for n in range(2048))

_TABLE: Final = 4096
"""Entries of a table of things that repeat, before it starts over: a bound, not a tuning."""


class _Template:
    __slots__ = ("body", "end", "keys", "request_size", "response_size", "sizes")

    def __init__(self, topology: Topology, record: Record) -> None:
        shape = shape_of(record)
        span = span_shape(topology, shape)
        flags = _HAS_IS_REMOTE | (_IS_REMOTE if shape.kind in _SERVING else 0)
        self.body = b"".join(
            (
                protobuf.text(5, span.name),
                protobuf.integer(6, shape.kind),
                protobuf.attributes(_ATTRIBUTES, span.attributes),
                _ERROR if span.error else b"",
                protobuf.fixed32(16, flags),
            )
        )
        self.request_size = span.request_size
        self.response_size = span.response_size
        self.end = end_of(topology, shape) if shape.keyed else None
        self.sizes: dict[tuple[int, int], bytes] | None = (
            None if span.request_size is None and span.response_size is None else {}
        )
        self.keys: dict[str, bytes] = {}

    def with_sizes(self, sizes: tuple[int, int]) -> bytes:
        """The template and its size attributes."""
        table = self.sizes
        if table is None:
            return self.body
        body = self.body
        if self.request_size is not None:
            body += protobuf.attribute(_ATTRIBUTES, self.request_size, sizes[0])
        if self.response_size is not None:
            body += protobuf.attribute(_ATTRIBUTES, self.response_size, sizes[1])
        if len(table) >= _TABLE:
            table.clear()
        table[sizes] = body
        return body

    def key(self, key: str) -> bytes:
        found = self.keys.get(key)
        if found is None:
            assert self.end is not None
            found = protobuf.attributes(_ATTRIBUTES, key_attributes(self.end, key))
            if len(self.keys) >= _TABLE:
                self.keys.clear()
            self.keys[key] = found
        return found


_SERVING: Final = (SERVER, CONSUMER)


class SpanEncoder:
    """Records of one topology to ``ScopeSpans.spans`` fields.

    ``offset_ns`` is added to a record's times to get Unix time.
    """

    def __init__(self, topology: Topology, offset_ns: int) -> None:
        self._topology = topology
        self._offset_ns = offset_ns
        self._templates: dict[tuple[object, ...], _Template] = {}

    def encode(self, records: Iterable[Record], out: list[bytes]) -> None:
        """Append one field for each sampled record."""
        templates = self._templates
        offset = self._offset_ns
        append = out.append
        for record in records:
            if not record[SAMPLED]:
                continue
            kind, _, trace, span, parent, _, start, end = record[:8]
            key, queue = record[KEY], record[QUEUE]
            shape = (_shape(record), key is None, queue > 0)
            template = templates.get(shape)
            if template is None:
                if len(templates) >= _TABLE:
                    templates.clear()
                template = templates[shape] = _Template(self._topology, record)
            if template.sizes is None:
                body = template.body
            else:
                sizes = _sizes(record)
                body = template.sizes.get(sizes) or template.with_sizes(sizes)
            if key is not None:
                body += template.key(key)
            if queue:
                body += protobuf.attribute(_ATTRIBUTES, QUEUE_NS, queue)
            if kind == CONSUMER and parent:
                body += _link(_LINK, _TRACE_ID, trace >> 64, trace & _LOW, _SPAN_ID, parent)
                body += _LINK_FLAGS
            if parent:
                ids = _ids(_TRACE_ID, trace >> 64, trace & _LOW, _SPAN_ID, span, _PARENT_ID, parent)
            else:
                ids = _root_ids(_TRACE_ID, trace >> 64, trace & _LOW, _SPAN_ID, span)
            size = len(ids) + _TIMES_BYTES + len(body)
            append(
                b"".join(
                    (
                        _LENGTHS[size] if size < 2048 else b"\x12" + protobuf.varint(size),
                        ids,
                        _times(_START, start + offset, _END, end + offset),
                        body,
                    )
                )
            )


def encode_spans(
    topology: Topology, records: Sequence[Record], resource: protobuf.Attributes, offset_ns: int
) -> bytes:
    """An ``ExportTraceServiceRequest`` with the spans of all sampled records of one service
    replica."""
    out: list[bytes] = []
    SpanEncoder(topology, offset_ns).encode(records, out)
    return protobuf.export_request(protobuf.resource(resource), SCOPE_FIELD, out)
