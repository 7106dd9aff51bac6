"""The JSON Schema of a scenario file, for editors: names, shapes and what each key means.

It describes form, and is put together from what reads the file. What needs the whole file (targets
that exist, cycles, operators that apply) is the validator's.
"""

from __future__ import annotations

from services.scenario import refactors, steps
from services.scenario.file.parser import SCENARIO
from services.scenario.text.forms import Schema, mapping_schema, published


def scenario_schema() -> Schema:
    """A new JSON Schema (draft 2020-12) document."""
    definitions: dict[str, Schema] = {}
    root = published(mapping_schema(SCENARIO), definitions)
    for name, schema in (steps.definitions() | refactors.definitions()).items():
        definitions[name] = published(schema, definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "hopbench scenario",
        **root,
        "$defs": definitions,
    }
