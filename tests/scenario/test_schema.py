"""The published schema and the parser know the same keys."""

from __future__ import annotations

import json
from pkgutil import resolve_name
from typing import Any

import jsonschema
import pytest
import yaml

from services.errors import BadInput
from services.scenario.file.load import read_load
from services.scenario.file.parser import parse_text
from services.scenario.file.schema import scenario_schema
from services.scenario.findings import FINDINGS
from services.scenario.refactors import OPERATORS
from services.scenario.steps import KINDS
from services.scenario.text import edges
from services.scenario.text.reader import Reader, mapping
from services.scenario.text.source import tree
from tests.scenario.build import text

SCHEMA = scenario_schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
OPTIONS = {key.name for key in edges.OPTIONS}
COMMON = {"id", "after", "per_item"}


def definition(name: str) -> dict[str, Any]:
    found: dict[str, Any] = SCHEMA["$defs"][name]
    return found


def reader(value: dict[str, object]) -> Reader:
    return mapping("x.yaml", tree(json.dumps(value), "x.yaml"), "x")


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_steps_have_the_kinds_of_the_table_and_calls_the_options_of_edges() -> None:
    kinds = {step["required"][0]: step["properties"].keys() for step in definition("step")["oneOf"]}
    assert kinds.keys() == KINDS.keys()
    assert kinds["call"] == {"call", *OPTIONS, *COMMON}
    assert kinds["publish"] == {"publish", *OPTIONS, *COMMON}
    assert kinds["fail"] == {"fail", *COMMON}


def test_defaults_may_give_every_option() -> None:
    assert definition("defaults")["properties"].keys() == {*OPTIONS, "where"}


def test_operators_are_those_of_the_table_with_the_keys_they_read() -> None:
    assert {
        op["properties"]["op"]["const"]: op["properties"].keys() - {"op"}
        for op in definition("refactor")["oneOf"]
    } == {name: {key.name for key in resolve_name(path).keys} for name, path in OPERATORS.items()}


def test_load_has_the_keys_that_are_read() -> None:
    known: set[str] = set()
    for said in (
        {"rate": 1},
        {"model": "closed", "users": 2},
        {"arrivals": "replay", "replay": ["0s"]},
    ):
        r = reader({**said, "entry": "a.go"})
        read_load(r, {})
        known |= set(r.known)
    assert known == definition("load")["properties"].keys()


def test_expectations_are_of_the_known_kinds() -> None:
    assert definition("expectation")["properties"]["kind"]["enum"] == list(FINDINGS)


@pytest.mark.parametrize(
    "steps",
    [
        "- {call: b.one, tiemout: 1s}",
        "- {call: b.one, timeout: 10}",
        "- {call: b.one, request: 4KB}",
        "- {call: b.one, count: 0}",
        "- {call: b.one, protocol: htpp}",
        "- {call: b.one, work: 1ms}",
        "- {call: b}",
        "- {publish: b.one, protocol: http}",
        "- {work: {cpu: 1ms, wher: loop}}",
        "- {sleep: {uniform: [1ms]}}",
        "- {choice: []}",
        "- {repeat: {times: 3}}",
        "- {fail: 1.5}",
    ],
)
def test_an_editor_marks_what_the_parser_refuses(steps: str) -> None:
    source = text(steps)
    with pytest.raises(BadInput):
        parse_text(source)
    assert not VALIDATOR.is_valid(yaml.safe_load(source))
