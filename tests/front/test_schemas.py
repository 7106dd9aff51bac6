"""What documents say and what their published schemas describe is the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from hopbench import cli
from hopbench.exits import Exit
from hopbench.front import documents
from hopbench.runs.directory import RunDir
from tests.documents import conforms, undescribed, unnamed

SHARED: dict[str, Any] = {"named": {"type": "object", "properties": {"b": {"type": "string"}}}}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["a", "c"],
    "properties": {
        "a": {"type": "array", "items": {"$ref": "#/$defs/named"}},
        "any": {"type": "object"},
        "number": {"type": "object", "additionalProperties": {"type": "number"}},
        "open": {
            "type": "object",
            "properties": {"op": {"type": "string"}},
            "additionalProperties": True,
        },
        "maybe": {"anyOf": [{"$ref": "#/$defs/named"}, {"type": "null"}]},
    },
}


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"a": [{"b": 1}], "any": {"x": 1}, "number": {"x": 1}, "open": {"op": 1, "x": 1}}, []),
        ({"x": 1}, [".x"]),
        ({"a": [{"b": 1}, {"x": 1}]}, [".a[].x"]),
        ({"maybe": {"x": 1}}, [".maybe.x"]),
        ({"maybe": None}, []),
    ],
)
def test_a_key_that_no_schema_names_is_seen(document: dict[str, Any], said: list[str]) -> None:
    assert list(undescribed(document, SCHEMA, SHARED)) == said


def test_a_key_that_is_required_and_not_described_is_seen() -> None:
    assert list(unnamed(SCHEMA, SHARED)) == [".c"]


@pytest.mark.parametrize("name", [name for name in documents.names() if name != documents.SCENARIO])
def test_what_a_schema_requires_it_describes(name: str) -> None:
    schema = documents.schema(name)
    assert list(unnamed(schema, schema.get("$defs", {}))) == []


@pytest.mark.parametrize("scenario", ["chatty", "fanout"])
def test_every_key_of_a_runs_documents_is_described(scenario: str, tmp_path: Path) -> None:
    """And of an analysis of its spans."""
    out = tmp_path / "run"
    short = ["--duration", "3s", "--warmup", "1s", "--engine", "virtual", "--rounds", "2"]
    assert cli.invoke(["run", scenario, *short, "--out", str(out)]) == Exit.DONE
    run = RunDir(out)
    summary = orjson.loads(run.summary.read_bytes())
    assert len(summary["variants"]) > 1
    assert any(variant["findings"] for variant in summary["variants"])
    conforms(summary)
    for path in (run.plan, run.findings, *run.trials.glob("*/trial.json")):
        conforms(orjson.loads(path.read_bytes()))
    written = tmp_path / "analysis.json"
    gate = ["--fail-on", "total_inter_service_calls < 1"]
    assert cli.invoke(["analyze", str(out), *gate, "--json", str(written)]) == Exit.DONE
    conforms(orjson.loads(written.read_bytes()))


def test_the_figures_of_an_entry_are_required_and_described_alike() -> None:
    schema = documents.schema("summary")
    entry = schema["properties"]["variants"]["items"]["properties"]["entries"]["items"]
    assert list(entry["properties"]) == entry["required"]
