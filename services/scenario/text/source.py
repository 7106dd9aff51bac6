"""YAML text → a tree of nodes, each with its line. What a scenario file may be made of.

- UTF-8 text, not empty, at most 64 MiB, one document, at most 100 levels deep;
- mappings have text keys, none of them twice;
- scalars are YAML 1.2's: ``no``, ``on`` and ``12:30`` are text, not False, True and 750;
- anchors and aliases are allowed as long as the nodes they repeat stay below 100,000 (a file of
  1 kB can otherwise expand to gigabytes); no tags, no merge keys.

The tree is built from the parser's events with a stack of our own: no depth of input can exhaust
the interpreter's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import yaml

from services.errors import BadInput

MAX_BYTES: Final = 64 * 2**20
MAX_DEPTH: Final = 100
MAX_REPEATED: Final = 100_000

_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INT: Final = re.compile(r"[-+]?[0-9]+")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")

Scalar = str | int | float | bool | None


@dataclass(frozen=True, slots=True, eq=False)
class Leaf:
    value: Scalar
    text: str
    """As it stands in the file."""
    line: int
    size: int = 1
    height: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class List:
    items: list[Node]
    line: int
    size: int = 1
    height: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class Map:
    items: dict[str, Node]
    key_lines: dict[str, int]
    line: int
    size: int = 1
    height: int = 1


Node = Leaf | List | Map
"""``line`` counts from 1. ``size`` is the number of nodes below, itself
included; ``height`` the levels below."""


def decode(raw: bytes, file: str) -> str:
    """The file's text; BadInput where it is too large, empty or not text."""
    if len(raw) > MAX_BYTES:
        raise BadInput(f"{len(raw):,} bytes; a scenario has at most {MAX_BYTES:,}", file)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise BadInput(
            f"not text: byte 0x{raw[error.start]:02x} at offset {error.start}",
            file,
            line,
            "a scenario is YAML in UTF-8",
        ) from None
    if (nul := text.find("\0")) >= 0:
        raise BadInput(f"not text: a zero byte at offset {nul}", file, text.count("\n", 0, nul) + 1)
    if not text.strip():
        raise BadInput("the file is empty", file, None, "hopbench init writes one to start from")
    return text


def tree(text: str, file: str) -> Node:
    """The only document of ``text``. Raises BadInput with the line."""
    builder = _Builder(file)
    try:
        for event in _events(text):
            builder.feed(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        last = len(text.splitlines())
        if mark is not None and mark.line >= last:
            mark = error.context_mark or mark  # at the end of the file: where it was opened
        line = None if mark is None else min(mark.line + 1, last)
        problem = str(error.problem or error.context)
        raise BadInput(
            f"not YAML: {problem}"
            + (f" ({error.context})" if error.problem and error.context else ""),
            file,
            line,
            None if line is None else _mend(problem, text.splitlines()[line - 1]),
        ) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise BadInput(f"not YAML: {error.reason}", file, line) from None
    if builder.root is None:
        raise BadInput("the file holds no YAML document", file, None, "hopbench init writes one")
    return builder.root


def _mend(problem: str, line: str) -> str | None:
    """What would help, for mistakes that the parser names by their effect."""
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return "the line begins with a tab; YAML is indented with spaces"
    if problem.startswith("mapping values are not allowed"):
        return 'text that holds ": " is quoted, as in description: "Request: a ride"'
    return None


def _events(text: str) -> Iterator[yaml.Event]:
    yield from yaml.parse(text, Loader=_LOADER)


@dataclass(slots=True)
class _Open:
    """A list or mapping whose end has not come yet."""

    line: int
    anchor: str | None
    items: list[Node] | dict[str, Node]
    key_lines: dict[str, int] = field(default_factory=dict)
    key: str | None = None
    size: int = 1
    height: int = 1


@dataclass(slots=True)
class _Builder:
    file: str
    root: Node | None = None
    stack: list[_Open] = field(default_factory=list)
    anchors: dict[str, Node] = field(default_factory=dict)
    repeated: int = 0

    def feed(self, event: yaml.Event) -> None:
        line = 0 if event.start_mark is None else event.start_mark.line + 1
        match event:
            case yaml.DocumentStartEvent():
                if self.root is not None:
                    raise BadInput("a second document in the file", self.file, line)
            case yaml.ScalarEvent():
                self._untagged(event, line)
                leaf = Leaf(_scalar(event), event.value, line)
                if not self._take_key(leaf, line):
                    self._add(leaf, event.anchor)
            case yaml.AliasEvent():
                node = self.anchors.get(event.anchor or "")
                if node is None:
                    raise BadInput(f"*{event.anchor} names no finished anchor", self.file, line)
                self.repeated += node.size
                if self.repeated > MAX_REPEATED:
                    raise BadInput("aliases repeat more than 100,000 nodes", self.file, line)
                self._refuse_as_key(line)
                self._fits(node.height, line)
                self._add(node, None)
            case yaml.SequenceStartEvent() | yaml.MappingStartEvent():
                self._untagged(event, line)
                self._refuse_as_key(line)
                self._fits(1, line)
                is_list = isinstance(event, yaml.SequenceStartEvent)
                self.stack.append(_Open(line, event.anchor, [] if is_list else {}))
            case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                done = self.stack.pop()
                node = (
                    List(done.items, done.line, done.size, done.height)
                    if isinstance(done.items, list)
                    else Map(done.items, done.key_lines, done.line, done.size, done.height)
                )
                self._add(node, done.anchor)
            case _:
                pass

    def _fits(self, height: int, line: int) -> None:
        if len(self.stack) + height > MAX_DEPTH:
            raise BadInput(f"nested more than {MAX_DEPTH} deep", self.file, line)

    def _untagged(self, event: yaml.CollectionStartEvent | yaml.ScalarEvent, line: int) -> None:
        if event.tag is not None and event.tag != "!":
            raise BadInput(f"the tag {event.tag[:60]} has no meaning here", self.file, line)

    def _refuse_as_key(self, line: int) -> None:
        top = self.stack[-1] if self.stack else None
        if top is not None and isinstance(top.items, dict) and top.key is None:
            raise BadInput("a key must be plain text", self.file, line)

    def _take_key(self, leaf: Leaf, line: int) -> bool:
        top = self.stack[-1] if self.stack else None
        if top is None or isinstance(top.items, list) or top.key is not None:
            return False
        key = leaf.text
        if key == "<<":
            raise BadInput(
                "merge keys are not read", self.file, line, "what repeats belongs in defaults"
            )
        if key in top.items:
            first = top.key_lines[key]
            raise BadInput(f"{key[:60]!r} is given twice, first on line {first}", self.file, line)
        top.key = key
        top.key_lines[key] = line
        return True

    def _add(self, node: Node, anchor: str | None) -> None:
        if anchor is not None:
            self.anchors[anchor] = node
        if not self.stack:
            self.root = node
            return
        top = self.stack[-1]
        top.size += node.size
        top.height = max(top.height, node.height + 1)
        if isinstance(top.items, list):
            top.items.append(node)
        elif top.key is not None:
            top.items[top.key] = node
            top.key = None


def _scalar(event: yaml.ScalarEvent) -> Scalar:
    text: str = event.value
    if event.style:  # libyaml writes a plain scalar's as "", the Python parser as None
        return text
    match text:
        case "" | "~" | "null":
            return None
        case "true":
            return True
        case "false":
            return False
    if len(text) > 40:  # no number of ours is that long, and int() of a long text is slow
        return text
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text
