"""Forms: how a value stands in a file, declared once.

A :class:`Form` reads a value, writes it, and says what the published schema says of it; a
:class:`Key` is an entry of a mapping with its form, its default and what it means. Everything that
a file may hold is made of these, so that parser, writer and schema know the same.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, KeysView, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from services.scenario.names import PATTERN, is_name
from services.scenario.text.reader import Reader, bad, bad_name, did_you_mean, items, mapping, shown
from services.scenario.text.source import Leaf, Node
from services.scenario.text.units import Unreadable

T = TypeVar("T")
U = TypeVar("U")
Word = TypeVar("Word", bound=str)
Schema = dict[str, Any]
"""JSON Schema (draft 2020-12), but for definitions and for tables of words: see :func:`published`.
"""


@dataclass(frozen=True, slots=True)
class Definition:
    """A schema that stands under ``$defs`` and is named wherever it is needed."""

    name: str
    schema: Schema


def _itself(value: Any) -> Any:
    return value


@dataclass(frozen=True, slots=True)
class Form(Generic[T]):
    read: Callable[[str, Node], T]
    """From a node of the file of that name. Raises BadInput with the line."""
    schema: Schema
    write: Callable[[Any], object] = _itself
    """What :attr:`read` reads back as the same value."""

    def of(self, make: Callable[[T], U], parts: Callable[[U], T]) -> Form[U]:
        """What is made of the value, and taken apart to be written."""
        return Form(
            lambda file, node: make(self.read(file, node)),
            self.schema,
            lambda value: self.write(parts(value)),
        )

    def named(self, name: str) -> Form[T]:
        """The same, with its schema under ``$defs``."""
        return Form(self.read, {"$ref": Definition(name, self.schema)}, self.write)


_NEEDED: Final = object()
UNSAID: Final[Any] = object()
"""The default of a key that changes nothing where it is not given."""


@dataclass(frozen=True, slots=True)
class Key:
    """An entry of a mapping."""

    name: str
    form: Form[Any]
    default: Any = _NEEDED
    """What holds where it is not given; without one it must be."""
    field: str = ""
    """Of the value that is made of the mapping, where that calls it something else."""
    example: str = ""
    """Of a needed one, for those who left it out."""
    about: str = ""
    """For the schema: what it means."""
    always: bool = False
    """Written also where it says the default."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "field", self.field or self.name)

    @property
    def needed(self) -> bool:
        return self.default is _NEEDED

    def demand(self, r: Reader) -> Any:
        """The value, where it must be given whatever the default is."""
        return self.form.read(r.file, r.need(self.name, self.example))

    def read(self, r: Reader) -> Any:
        if self.needed:
            return self.demand(r)
        node = r.take(self.name)
        return self.default if node is None else self.form.read(r.file, node)

    @property
    def schema(self) -> Schema:
        said = dict(self.form.schema)
        if self.about:
            said["description"] = self.about
        if not self.needed and self.default is not None and self.default is not UNSAID:
            default = self.form.write(self.default)
            if isinstance(default, str | int | float) and default != "":
                said["default"] = default
        return said


def read(keys: Iterable[Key], r: Reader) -> dict[str, Any]:
    """The value of every key, by field."""
    return {key.field: key.read(r) for key in keys}


def given(keys: Iterable[Key], r: Reader) -> dict[str, Any]:
    """The values that the mapping itself gives, by field."""
    return {
        key.field: key.form.read(r.file, node)
        for key in keys
        if (node := r.take(key.name)) is not None
    }


def defaults(keys: Iterable[Key]) -> dict[str, Any]:
    return {key.field: key.default for key in keys if not key.needed}


def written(keys: Iterable[Key], of: object) -> dict[str, object]:
    """The fields of a value as a mapping gives them: those that say more than the default."""
    return {
        key.name: key.form.write(value)
        for key in keys
        if (value := getattr(of, key.field)) != key.default or key.always
    }


def mapping_schema(keys: Iterable[Key]) -> Schema:
    """Of a mapping of these keys and no others."""
    keys = tuple(keys)
    needed = [key.name for key in keys if key.needed]
    return {
        "type": "object",
        "properties": {key.name: key.schema for key in keys},
        "additionalProperties": False,
        **({"required": needed} if needed else {}),
    }


def record(what: str, make: Callable[..., T], *keys: Key) -> Form[T]:
    """A mapping; ``make`` takes the fields."""

    def read_record(file: str, node: Node) -> T:
        r = mapping(file, node, what)
        values = read(keys, r)
        r.done()
        return make(**values)

    return Form(read_record, mapping_schema(keys), lambda value: written(keys, value))


def list_schema(of: Schema, **more: object) -> Schema:
    return {"type": "array", "items": of, **more}


def named_schema(of: Schema, **more: object) -> Schema:
    """Of a mapping from names, not empty."""
    return {
        "type": "object",
        "minProperties": 1,
        "propertyNames": {"pattern": f"^{PATTERN}$", **more},
        "additionalProperties": of,
    }


def published(schema: Any, definitions: dict[str, Schema]) -> Any:
    """``schema`` as JSON: definitions named and collected, tables of words as they are now."""
    match schema:
        case Definition(name, body):
            if name not in definitions:
                definitions[name] = {}
                definitions[name] = published(body, definitions)
            return f"#/$defs/{name}"
        case Mapping():
            return {key: published(value, definitions) for key, value in schema.items()}
        case list() | tuple() | KeysView():
            return [published(value, definitions) for value in schema]
        case _:
            return schema


def raw(schema: Schema) -> Form[Node]:
    """What is read later, by somebody who knows more than the node."""
    return Form(lambda _, node: node, schema)


def _text(file: str, node: Node) -> str:
    if not isinstance(node, Leaf) or node.value is None:
        raise bad(file, node, f"expected text, not {shown(node)}")
    return node.text


def _name(file: str, node: Node) -> str:
    found = _text(file, node)
    if not is_name(found):
        raise bad_name(file, node.line, found)
    return found


def _boolean(file: str, node: Node) -> bool:
    if not isinstance(node, Leaf) or not isinstance(node.value, bool):
        raise bad(file, node, f"expected true or false, not {shown(node)}")
    return node.value


TEXT: Final = Form(_text, {"type": "string"})
NAME: Final = Form(_name, {"pattern": f"^{PATTERN}$", "type": "string"}).named("name")
BOOLEAN: Final = Form(_boolean, {"type": "boolean"})


def matching(pattern: str, **more: object) -> Schema:
    return {"type": "string", "pattern": f"^{pattern}$", **more}


def word(options: Collection[Word]) -> Form[Word]:
    """One of the words; ``options`` may be the keys of a table."""

    def read_word(file: str, node: Node) -> Word:
        found = _text(file, node)
        for option in options:
            if found == option:
                return option
        hint = did_you_mean(found, options)
        raise bad(file, node, f"{shown(node)} is not one of {', '.join(options)}", hint)

    return Form(read_word, {"enum": options})


def integer(least: int, most: int | None = None) -> Form[int]:
    largest = 2**63 - 1 if most is None else most

    def read_integer(file: str, node: Node) -> int:
        value = node.value if isinstance(node, Leaf) else None
        if isinstance(value, bool) or not isinstance(value, int):
            raise bad(file, node, f"expected a whole number, not {shown(node)}")
        if value < least:
            raise bad(file, node, f"{value} is too small; the least is {least}")
        if value > largest:
            raise bad(file, node, f"{value} is too large; the most is {largest:,}")
        return value

    bounds = {"minimum": least} if most is None else {"minimum": least, "maximum": most}
    return Form(read_integer, {"type": "integer", **bounds})


def quantity(
    parse: Callable[[object], T], schema: Schema, write: Callable[[Any], object]
) -> Form[T]:
    """Read and written by functions of :mod:`services.scenario.text.units`."""

    def read_quantity(file: str, node: Node) -> T:
        if not isinstance(node, Leaf) or node.value is None:
            raise bad(file, node, f"expected a quantity, not {shown(node)}")
        try:
            return parse(node.text)
        except Unreadable as error:
            raise bad(file, node, error.text, error.hint) from None

    return Form(read_quantity, schema, write)


def positive(form: Form[T]) -> Form[T]:
    def read_positive(file: str, node: Node) -> T:
        value = form.read(file, node)
        if value == 0:
            raise bad(file, node, f"{shown(node)} must be more than zero")
        return value

    return Form(read_positive, form.schema, form.write)


def optional(form: Form[T], none: str) -> Form[T | None]:
    """The word ``none`` stands for None; nothing else does."""

    def read_optional(file: str, node: Node) -> T | None:
        return None if isinstance(node, Leaf) and node.text == none else form.read(file, node)

    return Form(
        read_optional,
        {"anyOf": [{"const": none}, form.schema]},
        lambda value: none if value is None else form.write(value),
    )


def several(form: Form[T], least: int, most: int | None = None) -> Form[tuple[T, ...]]:
    """A list of values."""

    def read_several(file: str, node: Node) -> tuple[T, ...]:
        found = tuple(form.read(file, item) for item in items(file, node, "the values"))
        if len(found) < least or len(found) > (most or len(found)):
            raise bad(file, node, f"expected {most or 'some'} values, not {len(found)}")
        return found

    bounds = {"minItems": least} if most is None else {"minItems": least, "maxItems": most}
    return Form(
        read_several,
        list_schema(form.schema, **bounds),
        lambda values: [form.write(value) for value in values],
    )
