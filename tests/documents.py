"""Documents held to their published schemas, both ways."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from jsonschema import Draft202012Validator

from hopbench.front import documents

_ANY: Final[Mapping[str, Any]] = {}
_DEFS: Final = "#/$defs/"


def conforms(document: Any) -> None:
    """It has the published form, and every key of it is described there."""
    schema = documents.schema(document["schema"].removeprefix("hopbench.").partition("/")[0])
    Draft202012Validator(schema).validate(document)
    unknown = set(undescribed(document, schema, schema.get("$defs", {})))
    assert not unknown, unknown


def undescribed(
    value: Any, schema: Mapping[str, Any], shared: Mapping[str, Any], at: str = ""
) -> Iterator[str]:
    """Where ``value`` has keys that its schema does not name. An object without ``properties`` may
    have any, as one may that says so."""
    for form in forms(schema, shared):
        if isinstance(value, list):
            for inner in value:
                yield from undescribed(inner, form.get("items", _ANY), shared, f"{at}[]")
        elif isinstance(value, Mapping) and form.get("type") == "object":
            named = form.get("properties", _ANY)
            others = form.get("additionalProperties", not named)
            for key, inner in value.items():
                if key not in named and not others:
                    yield f"{at}.{key}"
                elif isinstance(of := named.get(key, others), Mapping):
                    yield from undescribed(inner, of, shared, f"{at}.{key}")


def unnamed(schema: Mapping[str, Any], shared: Mapping[str, Any], at: str = "") -> Iterator[str]:
    """Keys that a schema requires and does not describe."""
    for form in forms(schema, shared):
        named = form.get("properties", _ANY)
        yield from (f"{at}.{key}" for key in form.get("required", ()) if key not in named)
        for key, inner in named.items():
            yield from unnamed(inner, shared, f"{at}.{key}")
        for inner in (form.get("items"), form.get("additionalProperties")):
            if isinstance(inner, Mapping):
                yield from unnamed(inner, shared, f"{at}[]")


def forms(schema: Mapping[str, Any], shared: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Those that a schema may stand for, without references."""
    if "$ref" in schema:
        yield from forms(shared[schema["$ref"].removeprefix(_DEFS)], shared)
    for inner in schema.get("anyOf", ()):
        yield from forms(inner, shared)
    if "type" in schema:
        yield schema
