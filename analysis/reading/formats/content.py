"""The bytes of one input, uncompressed, and its JSON documents where it holds such."""

from __future__ import annotations

import gc
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, NamedTuple

import orjson
import pyarrow as pa

from analysis.reading.recorder import Recorder, Skipped, Unreadable

_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_BOM: Final = b"\xef\xbb\xbf"

LARGEST: Final = 2 * 2**30
"""Bytes that a compressed file may hold; a bomb holds a thousand times its size."""
_PIECE: Final = 16 * 2**20


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
    def looks_like_json(self) -> bool:
        return self.data[:64].lstrip().startswith((b"{", b"["))

    @cached_property
    def _parsed(self) -> list[tuple[Document | None, Skipped | None]]:
        if not self.looks_like_json:
            return []
        try:
            return [(Document(0, orjson.loads(self.data)), None)]
        except orjson.JSONDecodeError as error:
            lines = list(self._lines())
            if not any(
                document and isinstance(document.value, dict | list) for document, _ in lines
            ):
                # One document over several lines, then: its own error tells more than theirs.
                lines = [(None, Skipped(self.file, _byte(error), f"not JSON: {error.msg}"))]
            return lines

    def _lines(self) -> Iterator[tuple[Document | None, Skipped | None]]:
        offset = 0
        for line in self.data.split(b"\n"):
            if line.strip():
                try:
                    yield Document(offset, orjson.loads(line)), None
                except orjson.JSONDecodeError as error:
                    yield None, Skipped(self.file, offset, f"not JSON: {error}")
            offset += len(line) + 1


def _byte(error: orjson.JSONDecodeError) -> int:
    """Where it is wrong; the error itself counts characters."""
    return len(error.doc[: error.pos].encode())


class Format(NamedTuple):
    name: str
    recognises: Callable[[Content], bool]
    read: Callable[[Content, Recorder], None]
    """Records every span, and what it skipped. Raises Unreadable."""


@contextmanager
def uncollected() -> Iterator[None]:
    """No garbage collection while the block runs.

    Parsed documents hold no cycles, so their reference counts free them; but every one of their
    objects makes the collector look through all of them again. Reading 90 MB of JSON takes a
    quarter of the time without.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def uncompressed(data: bytes, largest: int = LARGEST) -> bytes:
    """``data`` without its gzip or zstd wrapping, told by the first bytes, and without a byte order
    mark. Raises Unreadable, also where that would be more than ``largest`` bytes."""
    if data.startswith(_GZIP):
        data = _joined(_gunzipped(data), largest)
    elif data.startswith(_ZSTD):
        data = _joined(_unzstd(data), largest)
    return data.removeprefix(_BOM)


def _joined(pieces: Iterator[bytes], largest: int) -> bytes:
    found: list[bytes] = []
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > largest:
            raise Unreadable(f"more than {largest >> 20:,} MiB when uncompressed; split the file")
        found.append(piece)
    return b"".join(found)


def _unzstd(data: bytes) -> Iterator[bytes]:
    try:
        with pa.input_stream(pa.BufferReader(data), compression="zstd") as stream:
            while piece := stream.read(_PIECE):
                yield bytes(piece)
    except (OSError, pa.ArrowInvalid) as error:
        raise Unreadable(f"broken zstd data: {error}") from error


def _gunzipped(data: bytes) -> Iterator[bytes]:
    """What the members hold, one behind the other."""
    rest = data
    while rest:
        stream = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        offset = len(data) - len(rest)
        try:
            while not stream.eof:
                piece = stream.decompress(rest, _PIECE)
                rest = stream.unconsumed_tail
                if not piece and not rest and not stream.eof:
                    raise Unreadable("the gzip data breaks off", len(data))
                yield piece
        except zlib.error as error:
            raise Unreadable(f"broken gzip data: {error}", offset) from error
        rest = stream.unused_data.lstrip(b"\0")
