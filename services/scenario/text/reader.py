"""Reading typed values off a node tree. Every failure is one BadInput with its line.

A :class:`Reader` is a mapping being read: it remembers which keys were asked for, so that the keys
nobody asked for are errors, and the keys that would have been right are known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TypeVar

from services.errors import BadInput
from services.scenario.names import is_name
from services.scenario.text.source import Leaf, List, Map, Node
from services.scenario.text.units import Unreadable

T = TypeVar("T")
Word = TypeVar("Word", bound=str)


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """``did you mean "x"?`` for the closest of the known words; None where none is close."""
    close = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else None


@dataclass(slots=True)
class Reader:
    file: str | None
    what: str
    """Names the mapping in messages: ``a call``, ``load``…"""
    node: Map
    known: list[str] = field(default_factory=list)

    def take(self, key: str) -> Node | None:
        self.known.append(key)
        return self.node.items.get(key)

    def need(self, key: str, example: str) -> Node:
        found = self.take(key)
        if found is None:
            meant = get_close_matches(key, self.node.items, n=1)
            if meant and meant[0] not in self.known:
                raise self._unknown(meant[0], f"did you mean {key!r}?")
            raise bad(self.file, self.node, f"{self.what} lacks {key!r}", f"for example {example}")
        return found

    def get(self, key: str, read: Callable[[str | None, Node], T], default: T) -> T:
        found = self.take(key)
        return default if found is None else read(self.file, found)

    def done(self, also: Iterable[str] = ()) -> None:
        """Refuse the keys that were not asked for.

        ``also`` are keys of another form of this mapping: not allowed here, but perhaps meant.
        """
        for key in self.node.items:
            if key not in self.known:
                hint = did_you_mean(key, [*self.known, *also])
                raise self._unknown(key, hint or f"known keys: {', '.join(self.known)}")

    def _unknown(self, key: str, hint: str) -> BadInput:
        line = self.node.key_lines[key] or None
        return BadInput(f"unknown key {quoted(key)} in {self.what}", self.file, line, hint)


def bad(file: str | None, node: Node, text: str, hint: str | None = None) -> BadInput:
    return BadInput(text, file, node.line or None, hint)


def mapping(file: str | None, node: Node, what: str) -> Reader:
    if not isinstance(node, Map):
        raise bad(file, node, f"{what} must be a mapping, not {shown(node)}")
    return Reader(file, what, node)


def items(file: str | None, node: Node, what: str) -> list[Node]:
    if not isinstance(node, List):
        raise bad(file, node, f"{what} must be a list, not {shown(node)}")
    return node.items


def shown(node: Node) -> str:
    """The offending text, for a message."""
    match node:
        case Leaf(value=None):
            return "nothing"
        case Leaf():
            return quoted(node.text)
        case List():
            return "a list"
        case Map():
            return "a mapping"


def quoted(found: str) -> str:
    """As a message shows it: in quotes, and not at any length."""
    return repr(found if len(found) <= 60 else found[:57] + "…")


def text(file: str | None, node: Node) -> str:
    if not isinstance(node, Leaf) or node.value is None:
        raise bad(file, node, f"expected text, not {shown(node)}")
    return node.text


def name(file: str | None, node: Node) -> str:
    found = text(file, node)
    if not is_name(found):
        raise bad_name(file, node.line, found)
    return found


def bad_name(file: str | None, line: int, found: str) -> BadInput:
    return BadInput(
        f"{quoted(found)} is not a name",
        file,
        line or None,
        "a small letter, then at most 40 small letters, digits and hyphens",
    )


def word(options: tuple[Word, ...]) -> Callable[[str | None, Node], Word]:
    """Reads one of the words."""

    def read(file: str | None, node: Node) -> Word:
        found = text(file, node)
        for option in options:
            if found == option:
                return option
        hint = did_you_mean(found, options)
        raise bad(file, node, f"{shown(node)} is not one of {', '.join(options)}", hint)

    return read


def boolean(file: str | None, node: Node) -> bool:
    if not isinstance(node, Leaf) or not isinstance(node.value, bool):
        raise bad(file, node, f"expected true or false, not {shown(node)}")
    return node.value


def integer(at_least: int, at_most: int = 2**63 - 1) -> Callable[[str | None, Node], int]:
    def read(file: str | None, node: Node) -> int:
        value = node.value if isinstance(node, Leaf) else None
        if isinstance(value, bool) or not isinstance(value, int):
            raise bad(file, node, f"expected a whole number, not {shown(node)}")
        if value < at_least:
            raise bad(file, node, f"{value} is too small; the least is {at_least}")
        if value > at_most:
            raise bad(file, node, f"{value} is too large; the most is {at_most:,}")
        return value

    return read


def quantity(parse: Callable[[object], T]) -> Callable[[str | None, Node], T]:
    """Reads with one of the functions of :mod:`services.scenario.text.units`."""

    def read(file: str | None, node: Node) -> T:
        if not isinstance(node, Leaf) or node.value is None:
            raise bad(file, node, f"expected a quantity, not {shown(node)}")
        try:
            return parse(node.text)
        except Unreadable as error:
            raise bad(file, node, error.text, error.hint) from None

    return read


def positive(read: Callable[[str | None, Node], T]) -> Callable[[str | None, Node], T]:
    def read_positive(file: str | None, node: Node) -> T:
        value = read(file, node)
        if value == 0:
            raise bad(file, node, f"{shown(node)} must be more than zero")
        return value

    return read_positive


def optional(
    read: Callable[[str | None, Node], T], none: str
) -> Callable[[str | None, Node], T | None]:
    """Reads the word ``none`` as None; nothing else is."""

    def read_optional(file: str | None, node: Node) -> T | None:
        return None if isinstance(node, Leaf) and node.text == none else read(file, node)

    return read_optional
