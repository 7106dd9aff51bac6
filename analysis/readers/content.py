"""The bytes of one input, uncompressed, and its JSON documents where it holds such."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, NamedTuple

import orjson
import pyarrow as pa

from analysis.reading import Recorder, Skipped, Unreadable

_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"


class Document(NamedTuple):
    offset: int
    """Byte in the uncompressed content."""
    value: Any


@dataclass(frozen=True)
class Content:
    file: str
    """As the user named it."""
    data: bytes

    @cached_property
    def documents(self) -> tuple[Document, ...]:
        """One JSON document, or one a line; empty where the content is no JSON."""
        return tuple(document for document, _ in self._parsed if document is not None)

    @cached_property
    def broken_lines(self) -> tuple[Skipped, ...]:
        """Lines that are no JSON among others that are."""
        return tuple(skipped for _, skipped in self._parsed if skipped is not None)

    @cached_property
    def _parsed(self) -> list[tuple[Document | None, Skipped | None]]:
        head = self.data[:64].lstrip()
        if not head.startswith((b"{", b"[")):
            return []
        try:
            return [(Document(0, orjson.loads(self.data)), None)]
        except orjson.JSONDecodeError:
            return list(self._lines())

    def _lines(self) -> Iterator[tuple[Document | None, Skipped | None]]:
        offset = 0
        for line in self.data.split(b"\n"):
            if line.strip():
                try:
                    yield Document(offset, orjson.loads(line)), None
                except orjson.JSONDecodeError as error:
                    yield None, Skipped(self.file, offset, f"not JSON: {error}")
            offset += len(line) + 1


class Format(NamedTuple):
    name: str
    recognises: Callable[[Content], bool]
    read: Callable[[Content, Recorder], None]
    """Records every span, and what it skipped. Raises Unreadable."""


def uncompressed(data: bytes) -> bytes:
    """``data`` without its gzip or zstd wrapping, told by the first bytes. Raises Unreadable."""
    if data.startswith(_GZIP):
        return _gunzip(data)
    if data.startswith(_ZSTD):
        try:
            with pa.input_stream(pa.BufferReader(data), compression="zstd") as stream:
                return bytes(stream.read())
        except (OSError, pa.ArrowInvalid) as error:
            raise Unreadable(f"broken zstd data: {error}") from error
    return data


def _gunzip(data: bytes) -> bytes:
    parts: list[bytes] = []
    rest = data
    while rest:
        stream = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        offset = len(data) - len(rest)
        try:
            parts.append(stream.decompress(rest))
        except zlib.error as error:
            raise Unreadable(f"broken gzip data: {error}", offset) from error
        if not stream.eof:
            raise Unreadable("the gzip data breaks off", len(data))
        rest = stream.unused_data.lstrip(b"\0")
    return b"".join(parts)
