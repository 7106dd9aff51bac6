"""README.md and docs/ say nothing that does not work, and leave nothing out."""

from __future__ import annotations

import contextlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml

from hopbench import cli
from hopbench.comparison.gating import VERDICT_VALUES
from hopbench.exits import Exit
from hopbench.front import documents
from hopbench.results.gate_values import (
    AGAINST_BASELINE,
    ANALYSIS_VALUES,
    OF_REQUESTS,
    SUMMARY_VALUES,
)
from hopbench.results.gates import EDGE_FIELDS
from hopbench.runs import metrics
from hopbench.runs.limits import Limits
from loadgen.spool import reader
from services.doubts import Code
from services.scenario.file.parser import parse_text
from services.scenario.file.schema import scenario_schema
from services.scenario.findings import FINDINGS
from services.scenario.refactors import OPERATORS
from services.scenario.text import units

ROOT = Path(__file__).parents[1]
ROOMS = ("hopbench", "services", "loadgen", "analysis")
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```console\n(.*?)```", README, re.DOTALL)
COMMANDS = [
    line.split("#")[0].strip().removeprefix(".venv/bin/")
    for block in BLOCKS
    for line in block.splitlines()
]
INLINE = re.findall(r"`(hopbench [^`]+|make [^`]+|--[a-z-]+[^`]*)`", README)
PAGES = ["README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
SCENARIO = (ROOT / "docs/scenario.md").read_text()
MEASUREMENT = (ROOT / "docs/measurement.md").read_text()
WHOLE, *PARTS = re.findall(r"```yaml\n(.*?)```", SCENARIO, re.DOTALL)
REFACTORS = re.findall(r"`(\{op: [^`]+\})`", SCENARIO)


def test_there_is_something_to_check() -> None:
    assert "make run" in COMMANDS
    assert "hopbench run chatty" in COMMANDS


@pytest.mark.slow
def test_every_command_of_the_readme_works(tmp_path: Path) -> None:
    """In the order in which a reader types them. What starts processes is planned only."""
    with contextlib.chdir(tmp_path):
        for command in COMMANDS:
            if not command.startswith("hopbench "):
                continue
            arguments = shlex.split(command)[1:]
            if "|" in arguments:
                arguments = _piped(arguments, tmp_path / "piped.yaml")
            if arguments[0] == "prove" or (arguments[0] == "run" and "virtual" not in arguments):
                arguments = [*arguments, "--dry-run"]
            code = cli.invoke(arguments)
            # This machine may not be fit to measure; the doctor then works all the same.
            assert code in ((Exit.DONE, Exit.FAILED) if arguments == ["doctor"] else (Exit.DONE,))


def _piped(arguments: list[str], between: Path) -> list[str]:
    """What is right of the pipe, with a file for standard input that the left side has written."""
    at = arguments.index("|")
    assert cli.invoke([*arguments[:at], "-o", str(between)]) is Exit.DONE
    return [str(between) if part == "-" else part for part in arguments[at + 2 :]]


@pytest.mark.parametrize("text", [c for c in [*COMMANDS, *INLINE] if c.startswith("make ")])
def test_every_target_exists(text: str) -> None:
    makefile = (ROOT / "Makefile").read_text()
    assert re.search(rf"^{re.escape(text.split()[1])}:", makefile, re.MULTILINE)


@pytest.mark.parametrize("text", [c for c in INLINE if c.startswith("hopbench ")])
def test_every_command_named_in_passing_exists(text: str) -> None:
    assert text.split()[1] in cli.COMMANDS


def test_every_flag_named_in_passing_exists(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("run", "compare"):
        assert cli.invoke([command, "--help"]) == Exit.DONE
    known = capsys.readouterr().out
    flags = {text.split()[0] for text in INLINE if text.startswith("--")}
    assert flags >= {"--json", "--fail-on", "--rounds", "--broker"}
    assert [flag for flag in sorted(flags) if flag not in known] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    path = ROOT / page
    links = re.findall(r"\]\(([^)#]+)\)", path.read_text())
    assert [link for link in links if "://" not in link and not (path.parent / link).exists()] == []


CITED = re.compile(r'(docs/\w+\.md)(?:, "([^"]+)")?')


def citations() -> list[tuple[str, str, str | None]]:
    """File, cited page and heading, of all sources. A docstring may break the line in between."""
    sources = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
    return [
        (path.relative_to(ROOT).as_posix(), page, heading or None)
        for path in sources
        for page, heading in CITED.findall(re.sub(r"\s*\n\s*", " ", path.read_text()))
    ]


def test_what_code_cites_is_there() -> None:
    cited = citations()
    assert len({page for _, page, _ in cited}) >= 3
    for path, page, heading in cited:
        assert (ROOT / page).exists(), f"{path} cites {page}"
        if heading is not None:
            headings = re.findall(r"^#+ (.+)$|^\*\*(.+?)\.?\*\*", (ROOT / page).read_text(), re.M)
            assert heading in {one for pair in headings for one in pair}, (
                f"{path}: {page}, {heading}"
            )


def test_pages_outside_the_repository_are_not_cited() -> None:
    for room in ROOMS:
        for path in (ROOT / room).rglob("*.py"):
            named = set(re.findall(r"\b[A-Z]{4,}\.md\b", path.read_text()))
            assert named <= {"README.md"}, path


OUTPUT = (ROOT / "docs/output.md").read_text()


def test_every_document_is_named() -> None:
    published = {
        documents.schema(name)["properties"]["schema"]["const"]
        for name in documents.names()
        if "schema" in documents.schema(name).get("properties", {})
    }
    assert published <= set(re.findall(r"`(hopbench\.[a-z-]+/\d+)`", OUTPUT))


@pytest.mark.parametrize("schema", [reader.COLUMNS, metrics.SCHEMA])
def test_every_column_of_a_file_is_told(schema: pa.Schema) -> None:
    assert [name for name in schema.names if f"`{name}`" not in OUTPUT] == []


def test_every_metric_is_told() -> None:
    assert [name for name in sorted(metrics.OWN) if f"`{name}`" not in OUTPUT] == []


def test_every_kind_of_finding_is_explained() -> None:
    told = set(re.findall(r"^\| `([a-z.]+)` \|", (ROOT / "docs/analysis.md").read_text(), re.M))
    assert set(FINDINGS) <= told


def test_every_exit_code_is_told() -> None:
    told = {int(number) for number in re.findall(r"\d+", README.split("Exit codes:")[1][:300])}
    assert set(Exit) <= told


def with_part(part: str) -> str:
    """The scenario of docs/scenario.md with a part of the page in its place: keys of the file, or
    the steps of order.create."""
    scenario: dict[str, Any] = yaml.safe_load(WHOLE)
    given = yaml.safe_load(part)
    if isinstance(given, list):
        scenario["services"]["order"]["operations"]["create"] = given
        scenario.pop("variants")
        scenario.pop("expectations")
    else:
        services = {**scenario["services"], **given.pop("services", {})}
        scenario |= {**given, "services": services}
    return yaml.safe_dump(scenario)


def test_the_scenario_of_the_reference_is_one() -> None:
    assert parse_text(WHOLE).name == "shop"
    assert len(PARTS) >= 7


@pytest.mark.parametrize("part", PARTS)
def test_every_part_of_the_reference_fits_into_it(part: str) -> None:
    assert parse_text(with_part(part)) != parse_text(WHOLE)


@pytest.mark.parametrize("refactor", REFACTORS)
def test_every_refactor_of_the_reference_applies(refactor: str) -> None:
    part = with_part(yaml.safe_dump({"variants": {"tried": [yaml.safe_load(refactor)]}}))
    assert "tried" in parse_text(part).variants


def keys_of(schema: object) -> Iterator[str]:
    if isinstance(schema, dict):
        properties = schema.get("properties")
        if isinstance(properties, dict):
            yield from properties
        for value in schema.values():
            yield from keys_of(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from keys_of(value)


def test_the_reference_leaves_no_key_operator_kind_or_unit_out() -> None:
    code = "\n".join(re.findall(r"```yaml\n.*?```|`[^`]+`", SCENARIO, re.DOTALL))
    words = {word for text in code.split("\n") for word in re.findall(r"[\w.]+", text)}
    assert set(keys_of(scenario_schema())) - words == set()
    assert {yaml.safe_load(refactor)["op"] for refactor in REFACTORS} == set(OPERATORS)
    assert set(re.findall(r"^\| `([a-z.]+)` \|", SCENARIO, re.MULTILINE)) >= set(FINDINGS)
    amounts = set(re.findall(r"[0-9]([a-zA-Z/]+)", code)) | words
    assert (units.TIME.keys() | units.SIZE.keys() | units.RATE.keys()) - {"µs", "μs"} <= amounts


def rows_below(heading: str) -> list[list[str]]:
    table = MEASUREMENT.split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in row] for row in rows]


def test_every_name_of_a_gate_is_explained() -> None:
    page = (ROOT / "docs/gates.md").read_text()
    rows = (row.split("|")[1] for row in page.splitlines() if row.startswith("| `"))
    told = {word for cell in rows for word in re.findall(r"`(\w+)`", cell)}
    names = {*SUMMARY_VALUES, *OF_REQUESTS, *AGAINST_BASELINE, *ANALYSIS_VALUES, *EDGE_FIELDS}
    assert told == names | {*VERDICT_VALUES}


def test_every_doubt_is_explained() -> None:
    rows = rows_below("Doubts")
    told = [(code.strip("`"), void == "void", meaning, mend) for code, void, meaning, mend in rows]
    assert told == [(code.value, code.voids, code.meaning, code.mend) for code in Code]


def test_every_limit_is_told_as_it_is() -> None:
    told = {
        name.strip("`"): float(value) for name, value, _ in rows_below("Limits of the self-check")
    }
    assert told == Limits().document()
