"""Frozen values as JSON, and back: how everything that crosses a process or a file is written.

A dataclass is an object with its fields, a tuple a list, an enum its value, a path its text; what
has a default may be absent, what is UNSET is not written, and what is unknown is passed over
(https://jcristharif.com/msgspec).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar, overload

import msgspec
from msgspec import UNSET, UnsetType

__all__ = ["UNSET", "Tagged", "Unfit", "UnsetType", "decode", "encode", "plain", "typed"]

T = TypeVar("T")


class Tagged(msgspec.Struct, frozen=True, tag=str.lower):
    """A case of a closed union: the name of its class goes along as ``type``, in lower case."""


class Unfit(Exception):
    """The text is not JSON, or not of the kind asked for; says what is wrong, and where in it."""


def encode(value: object) -> bytes:
    """Without a line break: it can go out as a line."""
    return msgspec.json.encode(value, enc_hook=_written)


@overload
def decode(kind: type[T], text: bytes | str) -> T: ...
@overload
def decode(kind: Any, text: bytes | str) -> Any: ...
def decode(kind: Any, text: bytes | str) -> Any:
    """``kind`` is a class, or a union of such. Raises Unfit."""
    try:
        return msgspec.json.decode(text, type=kind, dec_hook=_read)
    except msgspec.DecodeError as error:
        raise Unfit(str(error)) from error


def plain(value: object) -> Any:
    """``value`` as dictionaries, lists and what else JSON has, for a document made of several."""
    return msgspec.to_builtins(value, enc_hook=_written, str_keys=True)


def typed(kind: type[T], document: object) -> T:
    """Back from :func:`plain`. Raises Unfit."""
    try:
        return msgspec.convert(document, type=kind, dec_hook=_read, str_keys=True)
    except msgspec.ValidationError as error:
        raise Unfit(str(error)) from error


def _written(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    raise NotImplementedError(f"{type(value).__name__} has no form in JSON")


def _read(kind: type[Any], value: object) -> object:
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise NotImplementedError(f"{kind.__name__} has no form in JSON")
