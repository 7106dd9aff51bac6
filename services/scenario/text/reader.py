"""Mappings and lists of a node tree, being read. Every failure is one BadInput with its line.

A :class:`Reader` is a mapping being read: it remembers which keys were asked for, so that the keys
nobody asked for are errors, and the keys that would have been right are known.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches

from services.errors import BadInput
from services.scenario.text.source import Leaf, List, Map, Node

Lines = dict[tuple[str, ...], int]
"""Where things stand in a file, by the keys of ``validation.Problem.at``."""


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """``did you mean "x"?`` for the closest of the known words; None where none is close."""
    close = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else None


@dataclass(slots=True)
class Reader:
    file: str
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

    def done(self, also: Iterable[str] = ()) -> None:
        """Refuse the keys that were not asked for.

        ``also`` are keys of another form of this mapping: not allowed here, but perhaps meant.
        """
        for key in self.node.items:
            if key not in self.known:
                hint = did_you_mean(key, [*self.known, *also])
                raise self._unknown(key, hint or f"known keys: {', '.join(self.known)}")

    def _unknown(self, key: str, hint: str) -> BadInput:
        line = self.node.key_lines[key]
        return BadInput(f"unknown key {quoted(key)} in {self.what}", self.file, line, hint)


def bad(file: str, node: Node, text: str, hint: str | None = None) -> BadInput:
    return BadInput(text, file, node.line, hint)


def mapping(file: str, node: Node, what: str) -> Reader:
    if not isinstance(node, Map):
        raise bad(file, node, f"{what} must be a mapping, not {shown(node)}")
    return Reader(file, what, node)


def items(file: str, node: Node | None, what: str) -> list[Node]:
    """Of a list; none where it is not given."""
    if node is None:
        return []
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


def bad_name(file: str, line: int, found: str) -> BadInput:
    return BadInput(
        f"{quoted(found)} is not a name",
        file,
        line,
        "a small letter, then at most 40 small letters, digits and hyphens",
    )
